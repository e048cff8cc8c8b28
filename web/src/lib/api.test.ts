import { describe, expect, it, vi } from 'vitest';
import { Api } from './api.ts';
import { Problem } from './problem.ts';

function answering(...answers: (Response | Error)[]) {
  const calls: [string, RequestInit][] = [];
  const fetcher = vi.fn((input: RequestInfo | URL, init?: RequestInit) => {
    calls.push([input as string, init ?? {}]);
    const answer = answers.shift();
    return answer instanceof Response
      ? Promise.resolve(answer)
      : Promise.reject(answer ?? new Error());
  });
  return { fetcher: fetcher as unknown as typeof fetch, calls };
}

const json = (body: unknown, status = 200, headers = {}) =>
  new Response(JSON.stringify(body), { status, headers });

describe('Api', () => {
  it('sends the credential in the header, and only there', async () => {
    const { fetcher, calls } = answering(json({ rooms: null }));
    expect(await new Api('tok', fetcher).rooms()).toEqual([]);
    const [url, init] = calls[0] ?? ['', {}];
    expect(url).toBe('/api/rooms');
    expect(init.headers).toMatchObject({ Authorization: 'Bearer tok' });
  });

  it('turns problem+json into a Problem', async () => {
    const { fetcher } = answering(
      json({ code: 'room_full', detail: 'The room is full.' }, 503, { 'Retry-After': '10' }),
    );
    const failed = new Api('tok', fetcher).room('x');
    await expect(failed).rejects.toMatchObject({
      code: 'room_full',
      message: 'The room is full.',
      status: 503,
      retryAfter: 10_000,
    });
  });

  it('tells a server that is away from one that refuses', async () => {
    const { fetcher } = answering(
      new TypeError('Failed to fetch'),
      new Response('<html>', { status: 502 }),
    );
    const api = new Api('tok', fetcher);
    await expect(api.me()).rejects.toMatchObject({ code: 'network', status: 0 });
    await expect(api.me()).rejects.toMatchObject({ code: 'http_502', status: 502 });
  });

  it('reads the events of a lecture as a list and as lines, and skips what it does not know', async () => {
    const event = { type: 'say', seq: 1, at: 2, t: 3, text: 'x' };
    const { fetcher } = answering(
      json({ events: [event, { type: 'poll', seq: 2, at: 3 }, 7] }),
      new Response(`${JSON.stringify(event)}\n{"type":"sa`),
    );
    const api = new Api('tok', fetcher);
    expect(await api.lectureEvents('l')).toEqual([event]);
    expect(await api.lectureEvents('l')).toEqual([event]);
  });

  it('signs addresses that the browser fetches by itself', () => {
    expect(new Api('a b').signed('/x')).toBe('/x?token=a%20b');
    expect(new Api('t').signed('/x?y=1')).toBe('/x?y=1&token=t');
    expect(new Api().signed('/x')).toBe('/x');
  });
});

describe('Problem', () => {
  it.each([
    [401, 'unauthorised', true],
    [409, 'slot_taken', true],
    [409, 'not_live', false],
    [429, 'rate_limited', false],
    [503, 'stopping', false],
    [0, 'network', false],
  ])('%i %s is final: %s', (status, code, final) =>
    expect(new Problem(code, '', status).final).toBe(final),
  );
});

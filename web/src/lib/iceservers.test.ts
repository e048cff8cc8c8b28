import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { IceServers, parseIceServers, parseLinks } from './iceservers.ts';

const TURN =
  '<turn:school.example:3478?transport=udp>; rel="ice-server"; username="1700:s1"; credential="abc="; credential-type="password"';

describe('parseLinks', () => {
  it('takes several values that are joined by commas', () => {
    const links = parseLinks(`${TURN}, <stun:school.example>; rel=ice-server,</next>;rel=next`);
    expect(links.map((link) => link.target)).toEqual([
      'turn:school.example:3478?transport=udp',
      'stun:school.example',
      '/next',
    ]);
  });

  it('leaves commas, semicolons, brackets and quotes inside of quotes alone', () => {
    const [link, next] = parseLinks('<a>; title="x, <y>; \\"z\\" \\\\"; rel="p q", <b>');
    expect(link?.params.get('title')).toBe('x, <y>; "z" \\');
    expect(link?.params.get('rel')).toBe('p q');
    expect(next?.target).toBe('b');
  });

  it('keeps commas inside of the brackets', () => {
    expect(parseLinks('<http://x/?a=1,2>; rel=next').map((l) => l.target)).toEqual([
      'http://x/?a=1,2',
    ]);
  });

  it('takes the first of a parameter, without regard to case', () => {
    const [link] = parseLinks('<a>; REL="one"; rel="two"; Flag; x = y');
    expect(link?.params.get('rel')).toBe('one');
    expect(link?.params.get('flag')).toBe('');
    expect(link?.params.get('x')).toBe('y');
  });

  it('reads unquoted base64 to its end', () => {
    const [link] = parseLinks('<a>; credential=YWJj==; rel=ice-server');
    expect(link?.params.get('credential')).toBe('YWJj==');
    expect(link?.params.get('rel')).toBe('ice-server');
  });

  it.each([
    null,
    '',
    ' , ,',
    '<',
    '<a',
    'a; rel=b',
    ';',
    '"',
    '<a>;',
    '<a>; x="',
    '=,=',
    '<a>;;=;,',
  ])('comes to an end on %j', (header) => {
    expect(parseLinks(header).length).toBeLessThan(2);
  });
});

describe('parseIceServers', () => {
  it('takes TURN with its credentials and STUN without', () => {
    expect(parseIceServers(`${TURN}, <stun:school.example>; rel="ice-server"`)).toEqual([
      { urls: 'turn:school.example:3478?transport=udp', username: '1700:s1', credential: 'abc=' },
      { urls: 'stun:school.example' },
    ]);
  });

  it('leaves out what no browser takes', () => {
    const header =
      '<turn:a>; rel="ice-server", <https://b>; rel="ice-server"; username="u"; credential="c", <turns:c>; rel="next"; username="u"; credential="c"';
    expect(parseIceServers(header)).toEqual([]);
  });
});

describe('IceServers', () => {
  let asked: RequestInit[];
  let answer: () => Promise<Response>;
  let now = 0;
  const make = () =>
    new IceServers({
      endpoint: '/whep/x',
      credential: 'tok',
      now: () => now,
      fetch: ((_: string, init: RequestInit) => {
        asked.push(init);
        return answer();
      }) as typeof fetch,
    });

  beforeEach(() => {
    vi.useFakeTimers();
    asked = [];
    now = 1000;
    answer = () => Promise.resolve(new Response(null, { headers: { Link: TURN } }));
  });
  afterEach(() => void vi.useRealTimers());

  it('asks with the credential, once while what it knows is fresh', async () => {
    const servers = make();
    expect(await servers.get()).toHaveLength(1);
    now += 3 * 60_000;
    expect(await servers.get()).toHaveLength(1);
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({
      method: 'OPTIONS',
      headers: { Authorization: 'Bearer tok' },
    });
    now += 2 * 60_000;
    await servers.get();
    expect(asked).toHaveLength(2);
  });

  it('goes on without servers when nobody answers, and asks again', async () => {
    answer = () => Promise.reject(new TypeError('Failed to fetch'));
    const servers = make();
    expect(await servers.get()).toEqual([]);
    await servers.get();
    expect(asked).toHaveLength(2);
  });

  it('keeps nobody waiting for more than a second; a late answer serves the next', async () => {
    let settle: (response: Response) => void = () => undefined;
    answer = () => new Promise((resolve) => (settle = resolve));
    const servers = make();
    const first = servers.get();
    await vi.advanceTimersByTimeAsync(1000);
    expect(await first).toEqual([]);
    settle(new Response(null, { headers: { Link: TURN } }));
    await vi.advanceTimersByTimeAsync(0);
    expect(await servers.get()).toHaveLength(1);
    expect(asked).toHaveLength(1);
  });

  it('takes what an answer brings unasked', async () => {
    const servers = make();
    servers.note(TURN);
    expect(await servers.get()).toHaveLength(1);
    expect(asked).toHaveLength(0);
  });
});

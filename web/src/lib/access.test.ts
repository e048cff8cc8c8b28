import { describe, expect, it, vi } from 'vitest';
import {
  type Invitation,
  endOf,
  enter,
  fromField,
  invitationsOf,
  redeem,
  stateOf,
  timeOf,
  toField,
  turnsAway,
  withdraw,
} from './access.ts';
import { Api } from './api.ts';
import { Problem } from './problem.ts';

const NOW = Date.parse('2026-11-20T10:00:00Z');
const HOUR = 3600_000;

const invitation = (change: Partial<Invitation> = {}): Invitation => ({
  id: 'i1',
  room: 'maths',
  role: 'student',
  uses: 0,
  used: 0,
  expires: new Date(NOW + HOUR).toISOString(),
  ...change,
});

function answering(answer: Response) {
  const fetcher = vi.fn(() => Promise.resolve(answer));
  return { api: new Api('tok', fetcher), fetcher };
}

describe('stateOf', () => {
  it.each<[string, Partial<Invitation>, string]>([
    ['good', {}, 'good'],
    ['without end', { expires: null }, 'good'],
    ['with the zero time of the server', { expires: '0001-01-01T00:00:00Z' }, 'good'],
    [
      'withdrawn, before all',
      { revoked: true, expires: new Date(NOW - 1).toISOString() },
      'revoked',
    ],
    ['run out', { expires: new Date(NOW).toISOString() }, 'expired'],
    ['used up', { uses: 2, used: 2 }, 'used_up'],
    ['with uses left', { uses: 2, used: 1 }, 'good'],
    ['before its time', { not_before: new Date(NOW + 1).toISOString() }, 'not_yet'],
  ])('%s', (_, change, want) => expect(stateOf(invitation(change), NOW)).toBe(want));
});

describe('spans', () => {
  it('end when people say they end', () => {
    const from = new Date(2026, 10, 20, 9, 30).getTime();
    expect(endOf('lesson', from)).toEqual(new Date(from + 3 * HOUR));
    expect(endOf('day', from)).toEqual(new Date(2026, 10, 21));
    expect(endOf('week', from)).toEqual(new Date(2026, 10, 28));
    expect(endOf('term', from)).toEqual(new Date(2027, 4, 21));
  });

  it('go through a form and back', () => {
    const at = new Date(2026, 10, 5, 7, 4);
    expect(toField(at)).toBe('2026-11-05T07:04');
    expect(fromField(toField(at))).toBe(at.toISOString());
    expect(fromField('')).toBe('');
    expect(fromField('soon')).toBe('');
  });
});

describe('timeOf', () => {
  it('reads times, and none as 0', () => {
    expect(timeOf('2026-11-20T10:00:00Z')).toBe(NOW);
    for (const none of [null, undefined, '', '0001-01-01T00:00:00Z', 'x']) {
      expect(timeOf(none)).toBe(0);
    }
  });
});

describe('requests', () => {
  it('keep secrets in the body, never in the address', async () => {
    const entering = answering(new Response('{"token":"t"}', { status: 201 }));
    await enter(entering.api, 'maths', { name: 'Wei', passcode: 'sesame' });
    expect(entering.fetcher).toHaveBeenCalledWith(
      '/api/rooms/maths/enter',
      expect.objectContaining({ method: 'POST', body: '{"name":"Wei","passcode":"sesame"}' }),
    );
    const redeeming = answering(new Response('{"token":"t"}', { status: 201 }));
    await redeem(redeeming.api, 'CODE');
    expect(redeeming.fetcher).toHaveBeenCalledWith(
      '/api/invitations/redeem',
      expect.objectContaining({ body: '{"code":"CODE"}' }),
    );
  });

  it('list invitations, the newest first', async () => {
    const list = [
      invitation({ id: 'old', created: '2026-11-01T00:00:00Z' }),
      invitation({ id: 'new', created: '2026-11-02T00:00:00Z' }),
    ];
    const { api } = answering(new Response(JSON.stringify({ invitations: list })));
    expect((await invitationsOf(api, 'maths')).map(({ id }) => id)).toEqual(['new', 'old']);
    const none = answering(new Response('{"invitations":null}'));
    expect(await invitationsOf(none.api, 'maths')).toEqual([]);
  });

  it('withdraw by id', async () => {
    const { api, fetcher } = answering(new Response(null, { status: 204 }));
    await withdraw(api, 'maths', 'a/b');
    expect(fetcher).toHaveBeenCalledWith(
      '/api/rooms/maths/invitations/a%2Fb',
      expect.objectContaining({ method: 'DELETE' }),
    );
  });
});

describe('turnsAway', () => {
  it.each<[Problem, boolean]>([
    [new Problem('token_revoked', '', 401), true],
    [new Problem('unauthorised', '', 401), true],
    [new Problem('room_closed', '', 403), true],
    [new Problem('token_expired', '', 404), true],
    [new Problem('forbidden', '', 403), false],
    [new Problem('network'), false],
    [new Problem('rate_limited', '', 429), false],
    [new Problem('authority_unavailable', '', 503), false],
  ])('%s: %s', (problem, want) => expect(turnsAway(problem)).toBe(want));
});

import { describe, expect, it } from 'vitest';
import { adviceOf, reportOf, verdictOf } from './advice.ts';
import type { BrowserFacts } from './browserfacts.ts';
import { PATHS, type PathName, type PathResult } from './diagnose.ts';
import { Problem } from './problem.ts';

const facts: BrowserFacts = {
  secure: true,
  webrtc: true,
  camera: 'granted',
  microphone: 'prompt',
  sends: ['VP8'],
  shows: ['VP8', 'H264'],
};

/** The named paths work, the others do not; off are not offered. */
const found = (works: PathName[], off: PathName[] = []): PathResult[] =>
  PATHS.map((path) => ({
    path,
    outcome: off.includes(path) ? 'off' : works.includes(path) ? 'works' : 'fails',
    server: [],
    browser: [],
  }));
const relays: PathName[] = ['turn-udp', 'turn-tcp', 'turn-tls'];

describe('verdictOf and adviceOf', () => {
  it.each([
    ['UDP works', found(['udp', 'tcp']), 'good', []],
    ['only TCP works', found(['tcp']), 'tcp', ['udp_blocked']],
    ['only relays work', found(relays), 'relay', ['relay_only']],
    ['only TURN/TLS works', found(['turn-tls']), 'relay', ['tls_only']],
    ['nothing works', found([]), 'blocked', ['nothing_through']],
    [
      'nothing works and no relay is offered',
      found([], relays),
      'blocked',
      ['nothing_through', 'ask_for_turn'],
    ],
  ] as const)('when %s', (_, results, verdict, advice) => {
    expect(verdictOf(results, facts, false)).toBe(verdict);
    expect(adviceOf(results, facts, false)).toEqual(advice);
  });

  it('says what stands in the way of camera and microphone', () => {
    const blocked = { ...facts, camera: 'denied', microphone: 'denied' } as const;
    expect(adviceOf(found(['udp']), blocked, false)).toEqual([
      'camera_denied',
      'microphone_denied',
    ]);
    expect(adviceOf(found(['udp']), { ...blocked, secure: false }, false)).toEqual(['insecure']);
  });

  it('does not judge a network by a server that is away, or a browser without WebRTC', () => {
    expect(adviceOf([], facts, true)).toEqual(['server_away']);
    expect(adviceOf([], { ...facts, webrtc: false }, false)).toEqual(['no_webrtc']);
  });
});

describe('reportOf', () => {
  it('says what was found, and no secret', () => {
    const results = found(['tcp']);
    Object.assign(results[0]!, {
      problem: new Problem('no_path', 'with a secret'),
      server: ['udp 192.0.2.1:8189 host'],
    });
    Object.assign(results[1]!, { connectMs: 40, echoMs: 3 });
    const report = reportOf({
      results,
      facts,
      verdict: 'tcp',
      agent: 'Browser/1',
      origin: 'https://school.example',
      address: '203.0.113.7',
      words: [],
      at: new Date(0),
    });
    expect(report).toContain('udp: does not work (no_path)\n  server:  udp 192.0.2.1:8189 host');
    expect(report).toContain('tcp: works (connected in 40 ms, echo in 3 ms)');
    expect(report).not.toContain('secret');
  });
});

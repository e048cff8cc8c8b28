import { describe, expect, it } from 'vitest';
import { type LinkState, beginning } from './link.ts';
import { Problem } from './problem.ts';
import { secondsTo, standingOf } from './standing.ts';

const lost = (change: Partial<LinkState>): LinkState => ({
  ...beginning,
  phase: 'lost',
  ...change,
});

describe('standingOf', () => {
  it.each([
    ['offline', 'offline'],
    ['shutting_down', 'restarting'],
    ['network', 'away'],
    ['no_path', 'blocked'],
    ['rate_limited', 'full'],
  ])('says of %s that the link is %s', (code, standing) => {
    expect(standingOf(lost({ problem: new Problem(code) }))).toBe(standing);
  });

  it('tells a picture that stands from a connection that is gone', () => {
    expect(standingOf(lost({ step: 'media' }))).toBe('stopped');
    expect(standingOf(lost({ step: 'path', attempt: 1 }))).toBe('lost');
    expect(standingOf(lost({ step: 'server', attempt: 3 }))).toBe('away');
  });
});

describe('secondsTo', () => {
  it('counts whole seconds down to the next attempt', () => {
    expect(secondsTo(lost({ retryAt: 5000 }), 2100)).toBe(3);
    expect(secondsTo(lost({ retryAt: 5000 }), 5000)).toBe(0);
    expect(secondsTo(lost({}), 5000)).toBe(0);
  });
});

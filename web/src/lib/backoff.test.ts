import { describe, expect, it, vi } from 'vitest';
import { Backoff, pause } from './backoff.ts';

describe('Backoff', () => {
  it('doubles up to its bound and begins again after reset', () => {
    const backoff = new Backoff({ first: 100, longest: 500, random: () => 0.5 });
    expect([1, 2, 3, 4, 5].map(() => backoff.next())).toEqual([100, 200, 400, 500, 500]);
    backoff.reset();
    expect(backoff.next()).toBe(100);
  });

  it('spreads pauses by a quarter and obeys the server', () => {
    expect(new Backoff({ first: 100, random: () => 0 }).next()).toBe(75);
    expect(new Backoff({ first: 100, random: () => 0.999 }).next()).toBe(125);
    expect(new Backoff({ first: 100, random: () => 0 }).next(2000)).toBe(2000);
  });
});

describe('pause', () => {
  it('ends early when woken and rejects when aborted', async () => {
    const wake = new AbortController();
    const woken = pause(60_000, undefined, wake.signal);
    wake.abort();
    await expect(woken).resolves.toBeUndefined();

    const stop = new AbortController();
    const stopped = pause(60_000, stop.signal);
    stop.abort();
    await expect(stopped).rejects.toThrow();
    await expect(pause(1, stop.signal)).rejects.toThrow();
  });

  it('takes its time otherwise', async () => {
    vi.useFakeTimers();
    let done = false;
    const waiting = pause(1000).then(() => (done = true));
    await vi.advanceTimersByTimeAsync(999);
    expect(done).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    await waiting;
    vi.useRealTimers();
  });
});

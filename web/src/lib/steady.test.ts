import { describe, expect, it } from 'vitest';
import { Steady } from './steady.ts';

describe('Steady', () => {
  it('changes only to what lasts', () => {
    const steady = new Steady('a', (from) => (from === 'a' ? 3 : 1));
    const seen = ['b', 'b', 'c', 'b', 'b', undefined, 'b', 'a', 'b', 'a', 'a'] as const;
    expect(seen.map((state, now) => steady.see(state, now))).toEqual([
      'a',
      'a',
      'a',
      'a',
      'a',
      'a',
      'b',
      'b',
      'b',
      'b',
      'a',
    ]);
  });
});

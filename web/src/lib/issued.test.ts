import { describe, expect, it } from 'vitest';
import { issuedNotes, keepNotes } from './issued.ts';

function memory() {
  const kept = new Map<string, string>();
  return {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
  };
}

const note = (id: string, expires: number) => ({
  id,
  room: 'maths',
  role: 'teacher',
  name: '',
  expires,
});

describe('issued tokens', () => {
  it('are remembered until they run out', () => {
    const store = memory();
    keepNotes(store, [note('a', 20), note('b', 10)]);
    expect(issuedNotes(store, 15).map(({ id }) => id)).toEqual(['a']);
  });

  it('are bounded, and survive damage', () => {
    const store = memory();
    keepNotes(
      store,
      Array.from({ length: 80 }, (_, i) => note(String(i), 20)),
    );
    expect(issuedNotes(store, 0)).toHaveLength(50);
    store.setItem('lectern.issued', '[{"id":7},null,{"id":"x","expires":5}]');
    expect(issuedNotes(store, 0).map(({ id }) => id)).toEqual(['x']);
    store.setItem('lectern.issued', 'nonsense');
    expect(issuedNotes(store, 0)).toEqual([]);
  });
});

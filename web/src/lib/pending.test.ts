import { describe, expect, it } from 'vitest';
import { PendingInvite } from './pending.ts';

function memory() {
  const kept = new Map<string, string>();
  return {
    kept,
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  };
}

describe('PendingInvite', () => {
  it('outlives a reload, for its own page only', () => {
    const store = memory();
    new PendingInvite(store).put('CODE', '/r/maths');
    const again = new PendingInvite(store);
    expect(again.at('/r/maths')).toBe('CODE');
    expect(again.at('/r/art')).toBe('');
  });

  it('leaves nothing behind once it is settled', () => {
    const store = memory();
    const pending = new PendingInvite(store);
    pending.put('CODE', '/r/maths');
    pending.clear();
    expect(pending.at('/r/maths')).toBe('');
    expect(store.kept.size).toBe(0);
  });

  it('survives damage, and a browser that keeps nothing', () => {
    const store = memory();
    store.setItem('lectern.invite', '{broken');
    expect(new PendingInvite(store).at('/r/maths')).toBe('');
    const refuse = () => {
      throw new Error('no');
    };
    const nowhere = { getItem: () => null, setItem: refuse, removeItem: refuse };
    const pending = new PendingInvite(nowhere);
    pending.put('CODE', '/r/maths');
    expect(pending.at('/r/maths')).toBe('CODE');
    pending.clear();
    expect(pending.at('/r/maths')).toBe('');
  });
});

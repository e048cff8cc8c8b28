import { describe, expect, it } from 'vitest';
import { Credentials, claimsOf, parseCredential } from './credentials.ts';

const NOW = Date.parse('2026-11-20T10:00:00Z');

function tokenOf(claims: Record<string, unknown>): string {
  const encode = (value: object) =>
    btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(value))))
      .replaceAll('+', '-')
      .replaceAll('/', '_')
      .replaceAll('=', '');
  return `${encode({ alg: 'HS256' })}.${encode(claims)}.c2ln`;
}

function memory() {
  const kept = new Map<string, string>();
  return {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
  };
}

const student = tokenOf({ room: 'algebra', role: 'student', sub: 's', exp: NOW / 1000 + 60 });
const teacher = tokenOf({ room: 'algebra', role: 'teacher', sub: 't', name: '王晓琳' });

describe('claimsOf', () => {
  it('reads a token', () => {
    expect(claimsOf(teacher)).toEqual({
      room: 'algebra',
      role: 'teacher',
      name: '王晓琳',
      subject: 't',
      expires: 0,
    });
  });
  it.each(['', 'abc', 'a.b.c', tokenOf({ role: 'king' })])('refuses %s', (text) =>
    expect(claimsOf(text)).toBeUndefined(),
  );
});

describe('parseCredential', () => {
  it('takes links, fragments, tokens and keys', () => {
    expect(parseCredential(`https://x.example/r/algebra#token=${student}`)).toEqual({
      token: student,
    });
    expect(parseCredential('#key=ABC')).toEqual({ key: 'ABC' });
    expect(parseCredential('https://x.example/r/algebra#invite=C0DE')).toEqual({ invite: 'C0DE' });
    expect(parseCredential(` ${teacher} `)).toEqual({ token: teacher });
    expect(parseCredential('ABCDEF')).toEqual({ key: 'ABCDEF' });
  });
  it('refuses what holds no credential', () => {
    for (const text of ['', 'https://x.example/r/algebra', 'two words', '#nothing=1']) {
      expect(parseCredential(text)).toBeUndefined();
    }
  });
});

describe('Credentials', () => {
  it('chooses by room and by what is wanted, and forgets what has run out', () => {
    const store = memory();
    let now = NOW;
    const credentials = new Credentials(store, () => now);
    credentials.add({ token: student });
    expect(credentials.for('algebra', 'teach')).toBeUndefined();
    credentials.add({ token: teacher });
    expect(credentials.for('algebra', 'teach')).toBe(teacher);
    expect(credentials.for('algebra', 'watch')).toBe(student);
    expect(credentials.for('other', 'watch')).toBeUndefined();
    now += 61_000;
    expect(credentials.for('algebra', 'watch')).toBe(teacher);
    credentials.add({ key: 'K' });
    expect(credentials.for('other', 'teach')).toBe('K');
    expect(credentials.all).toEqual(['K', teacher]);

    const again = new Credentials(store, () => now);
    expect(again.strongest).toBe('K');
    again.forget('K');
    expect(again.strongest).toBe(teacher);
  });

  it('replaces the invitation of a room by a newer one', () => {
    const credentials = new Credentials(memory(), () => NOW);
    const newer = tokenOf({ room: 'algebra', role: 'student', sub: 'n' });
    credentials.add({ token: student });
    credentials.add({ token: newer });
    expect(credentials.all).toEqual([newer]);
  });

  it('takes what stands behind #, and survives damage', () => {
    const store = memory();
    store.setItem('lectern.credentials', '{broken');
    const credentials = new Credentials(store, () => NOW);
    expect(credentials.takeFragment('#chat')).toBeUndefined();
    expect(credentials.takeFragment(`#token=${teacher}`)).toEqual({ token: teacher });
    expect(credentials.for('algebra', 'teach')).toBe(teacher);
  });

  it('lets an assistant teach, and gives programs no page', () => {
    const credentials = new Credentials(memory(), () => NOW);
    const assistant = tokenOf({ room: 'algebra', role: 'assistant', sub: 'a', slot: 'left' });
    credentials.add({ token: student });
    credentials.add({ token: assistant });
    credentials.add({ token: tokenOf({ room: 'art', role: 'ingest', sub: 'i' }) });
    expect(claimsOf(assistant)?.slot).toBe('left');
    expect(credentials.for('algebra', 'teach')).toBe(assistant);
    expect(credentials.for('algebra', 'watch')).toBe(student);
    expect(credentials.for('art', 'teach')).toBeUndefined();
    expect(credentials.places.map(({ room, role }) => [room, role])).toEqual([
      ['algebra', 'assistant'],
    ]);
  });

  it('does not use an invitation up twice', () => {
    const store = memory();
    let now = NOW;
    const credentials = new Credentials(store, () => now);
    expect(credentials.hasRedeemed('C0DE')).toBe(false);
    credentials.redeem('C0DE', student);
    expect(new Credentials(store, () => now).hasRedeemed('C0DE')).toBe(true);
    expect(credentials.for('algebra', 'watch')).toBe(student);
    now += 61_000;
    expect(credentials.hasRedeemed('C0DE')).toBe(false);
    now = NOW;
    credentials.forget(student);
    expect(credentials.hasRedeemed('C0DE')).toBe(false);
    expect(store.getItem('lectern.credentials')).not.toContain('C0DE');
  });
});

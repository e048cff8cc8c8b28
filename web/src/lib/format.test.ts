import { describe, expect, it } from 'vitest';
import { bytes, clock, initials, parseTime, roomName, timeParam } from './format.ts';

describe('clock', () => {
  it.each([
    [0, '0:00'],
    [65_000, '1:05'],
    [3_723_000, '1:02:03'],
    [-5, '0:00'],
  ])('%i ms is %s', (ms, text) => expect(clock(ms)).toBe(text));
  it('has hours when long', () => expect(clock(754_000, true)).toBe('00:12:34'));
});

describe('bytes', () => {
  it.each([
    [412_000, '412 kB'],
    [1_300_000, '1.3 MB'],
    [74e9, '74 GB'],
    [999_600, '1 MB'],
    [1, '1 byte'],
  ])('%i is %s', (n, text) => expect(bytes(n, 'en')).toBe(text));
});

describe('parseTime', () => {
  it.each([
    ['93', 93],
    ['1h2m3s', 3723],
    ['62m', 3720],
    ['1:02:03', 3723],
    ['31:07', 1867],
    ['', undefined],
    ['soon', undefined],
    ['1:99', undefined],
  ])('%s is %s', (text, seconds) => expect(parseTime(text)).toBe(seconds));
  it('reads what timeParam writes', () => {
    for (const s of [0, 59, 60, 3600, 3723]) expect(parseTime(timeParam(s))).toBe(s);
  });
});

describe('roomName', () => {
  it.each([
    ['Linear Algebra II', 'linear-algebra-ii'],
    ['Übung: Größe & Maß', 'ubung-gro-e-ma'],
    ['  --x--  ', 'class-7f'],
    ['线性代数', 'class-7f'],
  ])('%s is %s', (title, name) => expect(roomName(title, () => '7f')).toBe(name));
});

describe('initials', () => {
  it.each([
    ['Dr. Ingrid Solheim-Vasconcelos', 'IS'],
    ['陈思远', '陈'],
    ['léa', 'L'],
    ['', ''],
  ])('%s is %s', (name, letters) => expect(initials(name)).toBe(letters));
});

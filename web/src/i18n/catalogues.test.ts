import { describe, expect, it } from 'vitest';
import { en } from './en.ts';
import { zh } from './zh.ts';

/** The paths of all sentences of a catalogue. */
function paths(value: object, at = ''): string[] {
  return Object.entries(value).flatMap(([key, inner]) =>
    typeof inner === 'object' && inner !== null
      ? paths(inner as object, `${at}${key}.`)
      : `${at}${key}`,
  );
}

// Names and abbreviations that are the same in every language.
const same = new Set(['brand']);

describe('catalogues', () => {
  it('have the same sentences', () => {
    const own = (all: string[]) => all.filter((path) => !path.startsWith('reasons.')).sort();
    expect(own(paths(zh))).toEqual(own(paths(en)));
  });

  it('leave nothing in English', () => {
    const untranslated = paths(zh).filter((path) => {
      const pick = (from: object) =>
        path
          .split('.')
          .reduce((value: unknown, key) => (value as Record<string, unknown>)[key], from);
      const value = path.startsWith('reasons.') ? undefined : pick(zh);
      return typeof value === 'string' && value === pick(en) && !same.has(path);
    });
    expect(untranslated).toEqual([]);
  });
});

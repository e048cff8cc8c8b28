import { prefs, remember } from '../app/prefs.svelte.ts';
import { bitrate } from '../lib/format.ts';
import type { Problem } from '../lib/problem.ts';
import { type Catalogue, en } from './en.ts';
import { zh } from './zh.ts';

export type Lang = 'en' | 'zh';

const catalogues: Record<Lang, Catalogue> = { en, zh };

/** The language of the browser that we have, else English. */
export function guessLang(wanted: readonly string[]): Lang {
  for (const tag of wanted) {
    const main = tag.toLowerCase().split('-')[0];
    if (main === 'zh' || main === 'en') return main;
  }
  return 'en';
}

class I18n {
  readonly lang: Lang = $derived(prefs.lang || guessLang(navigator.languages));
  /** The sentences of the language. */
  readonly t: Catalogue = $derived(catalogues[this.lang]);
  /** For Intl: the browser's own variant of the language where it has one. */
  readonly locale: string = $derived(
    navigator.languages.find((tag) => tag.toLowerCase().startsWith(this.lang)) ??
      (this.lang === 'zh' ? 'zh-CN' : 'en-GB'),
  );

  toggle(): void {
    remember({ lang: this.lang === 'en' ? 'zh' : 'en' });
  }

  /** A sentence for a person; the server's own words for codes that no catalogue has. */
  problem(problem: Problem): string {
    return (
      this.t.problems[problem.code] ?? (problem.message || this.t.problems['unexpected'] || '')
    );
  }

  /** The server's sentence on why a player is not served, in this language. */
  reason(sentence: string): string {
    return this.t.reasons[sentence] ?? sentence;
  }

  /** "640 kbit/s", "1.3 Mbit/s". */
  bitrate(bitsPerSecond: number): string {
    return bitrate(bitsPerSecond, this.locale);
  }

  time(at: number | string): string {
    return new Intl.DateTimeFormat(this.locale, { hour: '2-digit', minute: '2-digit' }).format(
      new Date(at),
    );
  }

  /** A day and a time: "Fri 20 Nov, 14:05"; only the time when it is today. */
  moment(at: number | string): string {
    const date = new Date(at);
    const today = date.toDateString() === new Date().toDateString();
    return today ? this.time(at) : `${this.date(at, 'short')}, ${this.time(at)}`;
  }

  /** "Tuesday 17 November", with the year when it is another one. */
  date(at: number | string, weekday: 'long' | 'short' = 'long'): string {
    const date = new Date(at);
    const year =
      date.getFullYear() === new Date().getFullYear() ? {} : { year: 'numeric' as const };
    return new Intl.DateTimeFormat(this.locale, {
      weekday,
      day: 'numeric',
      month: weekday === 'long' ? 'long' : 'short',
      ...year,
    }).format(date);
  }

  month(at: number | string): string {
    return new Intl.DateTimeFormat(this.locale, { month: 'long', year: 'numeric' }).format(
      new Date(at),
    );
  }
}

export const i18n = new I18n();

const han = /\p{Script=Han}/u;

/** The language of a text where it matters for fonts and line height; else undefined. */
export function langOf(text: string): 'zh' | undefined {
  return han.test(text) ? 'zh' : undefined;
}

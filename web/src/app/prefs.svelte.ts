import type { CodecChoice } from '../lib/whip.ts';
import type { Picture } from '../lib/devices.ts';
import type { Quality } from '../lib/layers.ts';
import { randomId } from '../lib/random.ts';

/** What this browser remembers of a person's habits. */
interface Kept {
  theme: 'system' | 'light' | 'dark';
  lang: '' | 'en' | 'zh';
  name: string;
  /** The secret by which rooms know this browser again. */
  pageKey: string;
  volume: number;
  speed: number;
  record: boolean;
  codec: CodecChoice;
  picture: Picture;
  /** Send several qualities; '': as this computer and its network can. */
  several: '' | 'on' | 'off';
  /** Of the picture of a class; '': as this network is. */
  quality: '' | Quality;
  camera: string;
  microphone: string;
  mirror: boolean;
  layout: 'one' | 'beside';
}

const STORE_KEY = 'lectern.prefs';
const defaults: Kept = {
  theme: 'system',
  lang: '',
  name: '',
  pageKey: '',
  volume: 1,
  speed: 1,
  record: true,
  codec: 'auto',
  picture: 'auto',
  several: '',
  quality: '',
  camera: '',
  microphone: '',
  mirror: true,
  layout: 'beside',
};

/** Reads what is kept, taking only what has the right type. */
export function readPrefs(text: string | null): Kept {
  const kept = { ...defaults };
  try {
    const found = JSON.parse(text ?? '{}') as Record<string, unknown>;
    for (const key of Object.keys(defaults) as (keyof Kept)[]) {
      if (typeof found[key] === typeof defaults[key]) Object.assign(kept, { [key]: found[key] });
    }
  } catch {
    // Damaged: begin again.
  }
  return kept;
}

function load(): Kept {
  try {
    return readPrefs(localStorage.getItem(STORE_KEY));
  } catch {
    return { ...defaults };
  }
}

export const prefs = $state(load());

/** Changes what is remembered. */
export function remember(change: Partial<Kept>): void {
  Object.assign(prefs, change);
  try {
    localStorage.setItem(STORE_KEY, JSON.stringify(prefs));
  } catch {
    // Not kept: lasts as long as the page.
  }
}

/** The secret by which rooms tell this browser from others with the same invitation. */
export function pageKey(): string {
  if (prefs.pageKey.length < 16) remember({ pageKey: randomId() });
  return prefs.pageKey;
}

/** Positions in lectures, seconds by id; the oldest are forgotten. */
const PLACES_KEY = 'lectern.places';
const MAX_PLACES = 200;

export function placeOf(id: string): number {
  return places()[id] ?? 0;
}

export function rememberPlace(id: string, seconds: number): void {
  const { [id]: old, ...others } = places();
  const kept = Object.entries(others).slice(-MAX_PLACES);
  if (seconds > 5) kept.push([id, Math.floor(seconds)]);
  try {
    localStorage.setItem(PLACES_KEY, JSON.stringify(Object.fromEntries(kept)));
  } catch {
    // Not kept.
  }
}

function places(): Record<string, number> {
  try {
    return (JSON.parse(localStorage.getItem(PLACES_KEY) ?? '{}') as Record<string, number>) ?? {};
  } catch {
    return {};
  }
}

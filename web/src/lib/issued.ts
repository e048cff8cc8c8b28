/** A token that was made in this browser: enough to revoke it, not to use it. */
export interface IssuedNote {
  id: string;
  room: string;
  role: string;
  name: string;
  /** ms since the epoch. */
  expires: number;
}

/** The part of Storage that is used. */
interface Store {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

const STORE_KEY = 'lectern.issued';
const MAX_NOTES = 50;

/** Notes of the tokens made here, the newest first; those that have run out are dropped. */
export function issuedNotes(store: Store, now: number): IssuedNote[] {
  try {
    const kept = JSON.parse(store.getItem(STORE_KEY) ?? '[]') as unknown;
    return Array.isArray(kept) ? kept.filter(isNote).filter((note) => note.expires > now) : [];
  } catch {
    return [];
  }
}

/** Keeps notes, the first ones if they are too many. */
export function keepNotes(store: Store, notes: IssuedNote[]): void {
  try {
    store.setItem(STORE_KEY, JSON.stringify(notes.slice(0, MAX_NOTES)));
  } catch {
    // Not kept: the id that was shown still revokes.
  }
}

function isNote(value: unknown): value is IssuedNote {
  const note = value as Partial<IssuedNote> | null;
  return typeof note?.id === 'string' && typeof note.expires === 'number';
}

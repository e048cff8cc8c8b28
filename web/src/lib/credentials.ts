import type { Role } from './events.ts';

/** What a token says of itself. The page only believes it for choosing among tokens. */
export interface Claims {
  room: string;
  role: Role;
  name: string;
  subject: string;
  /** ms since the epoch; 0: never. */
  expires: number;
}

/** The part of Storage that is used. */
export interface Store {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

interface Kept {
  key?: string;
  tokens: string[];
}

const STORE_KEY = 'lectern.credentials';
const MAX_TOKENS = 64;

/** Reads the payload of a token without verifying it; undefined for what is none. */
export function claimsOf(token: string): Claims | undefined {
  const part = token.split('.')[1];
  if (!part || token.split('.').length !== 3) return undefined;
  try {
    const text = atob(part.replace(/-/g, '+').replace(/_/g, '/'));
    const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
    const body = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
    const role = body['role'];
    if (role !== 'admin' && role !== 'teacher' && role !== 'student' && role !== 'player') {
      return undefined;
    }
    const word = (key: string) => (typeof body[key] === 'string' ? body[key] : '');
    const exp = typeof body['exp'] === 'number' ? body['exp'] * 1000 : 0;
    return { room: word('room'), role, name: word('name'), subject: word('sub'), expires: exp };
  } catch {
    return undefined;
  }
}

/**
 * What a person pastes or comes with: a link of ours, its fragment, a token or
 * a key. Undefined when there is no credential in it.
 */
export function parseCredential(text: string): { token?: string; key?: string } | undefined {
  const trimmed = text.trim();
  if (!trimmed) return undefined;
  const hash = trimmed.indexOf('#');
  const fragment = new URLSearchParams(hash >= 0 ? trimmed.slice(hash + 1) : '');
  const token = fragment.get('token');
  const key = fragment.get('key');
  if (token) return { token };
  if (key) return { key };
  if (hash >= 0 || /[\s/]/.test(trimmed)) return undefined;
  return claimsOf(trimmed) ? { token: trimmed } : { key: trimmed };
}

const strength: Record<Role, number> = { admin: 3, teacher: 2, student: 1, player: 0 };

/** The credentials that this browser keeps: one key at most, and tokens of rooms. */
export class Credentials {
  readonly #store: Store;
  readonly #now: () => number;
  #kept: Kept;

  constructor(store: Store, now: () => number = Date.now) {
    this.#store = store;
    this.#now = now;
    this.#kept = this.#load();
  }

  /** The key of the administrator, if this browser has it. */
  get key(): string | undefined {
    return this.#kept.key;
  }

  /** Takes the credential out of the fragment of an address. True if there was one. */
  takeFragment(hash: string): boolean {
    const found = hash.startsWith('#') ? parseCredential(hash) : undefined;
    if (!found) return false;
    this.add(found);
    return true;
  }

  add(credential: { token?: string; key?: string }): void {
    const { key, token } = credential;
    if (key) this.#kept.key = key;
    if (token) {
      // The newest invitation of a room and role replaces the older one.
      const claims = claimsOf(token);
      const others = this.#kept.tokens.filter((kept) => {
        const c = claimsOf(kept);
        return kept !== token && !(claims && c && c.room === claims.room && c.role === claims.role);
      });
      this.#kept.tokens = [token, ...others].slice(0, MAX_TOKENS);
    }
    this.#save();
  }

  /** Forgets one credential, e.g. because the server refused it. */
  forget(credential: string): void {
    if (this.#kept.key === credential) delete this.#kept.key;
    this.#kept.tokens = this.#kept.tokens.filter((token) => token !== credential);
    this.#save();
  }

  clear(): void {
    this.#kept = { tokens: [] };
    this.#save();
  }

  /**
   * The credential for a room. want "teach": one that may publish; "watch": the
   * invitation first, since that is how the person came.
   */
  for(room: string, want: 'teach' | 'watch'): string | undefined {
    const usable = this.#usable().filter(
      ({ claims }) => claims.role !== 'player' && (claims.room === room || claims.room === '*'),
    );
    const teach = usable
      .filter(({ claims }) => strength[claims.role] >= strength.teacher)
      .sort((a, b) => strength[b.claims.role] - strength[a.claims.role])[0]?.token;
    if (want === 'teach') return teach ?? this.#kept.key;
    const watch = usable.sort((a, b) => strength[a.claims.role] - strength[b.claims.role])[0]
      ?.token;
    return watch ?? this.#kept.key;
  }

  /** The strongest credential, for what concerns no single room. */
  get strongest(): string | undefined {
    const best = this.#usable().sort(
      (a, b) => strength[b.claims.role] - strength[a.claims.role],
    )[0];
    return this.#kept.key ?? best?.token;
  }

  /** Every credential that is not known to have run out, the strongest first. */
  get all(): string[] {
    const tokens = this.#usable().filter(({ claims }) => claims.role !== 'player');
    tokens.sort((a, b) => strength[b.claims.role] - strength[a.claims.role]);
    return [...(this.#kept.key ? [this.#kept.key] : []), ...tokens.map(({ token }) => token)];
  }

  #usable(): { token: string; claims: Claims }[] {
    const now = this.#now();
    return this.#kept.tokens.flatMap((token) => {
      const claims = claimsOf(token);
      if (!claims || (claims.expires && claims.expires <= now)) return [];
      return [{ token, claims }];
    });
  }

  #load(): Kept {
    try {
      const kept = JSON.parse(this.#store.getItem(STORE_KEY) ?? '{}') as Partial<Kept>;
      const tokens = Array.isArray(kept.tokens)
        ? kept.tokens.filter((t) => typeof t === 'string')
        : [];
      return typeof kept.key === 'string' ? { key: kept.key, tokens } : { tokens };
    } catch {
      return { tokens: [] };
    }
  }

  #save(): void {
    try {
      this.#store.setItem(STORE_KEY, JSON.stringify(this.#kept));
    } catch {
      // A browser that keeps nothing: the credential lives as long as the page.
    }
  }
}

import { type Role, isRole } from './events.ts';

/** What a token says of itself. The page only believes it for choosing among tokens. */
export interface Claims {
  room: string;
  role: Role;
  name: string;
  subject: string;
  /** The only stream that it may publish; missing: any. */
  slot?: string;
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
  /** The token that each invitation was redeemed for, by its code. */
  redeemed: Record<string, string>;
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
    if (!isRole(role)) return undefined;
    const word = (key: string) => (typeof body[key] === 'string' ? body[key] : '');
    const exp = typeof body['exp'] === 'number' ? body['exp'] * 1000 : 0;
    const claims = { room: word('room'), role, name: word('name'), subject: word('sub') };
    const slot = word('slot');
    return { ...claims, ...(slot ? { slot } : {}), expires: exp };
  } catch {
    return undefined;
  }
}

/** What opens a door: a token, the key of the server, or the code of an invitation. */
export interface Credential {
  token?: string;
  key?: string;
  /** To be redeemed for a token. */
  invite?: string;
}

/**
 * What a person pastes or comes with: a link of ours, its fragment, a token or
 * a key. Undefined when there is no credential in it.
 */
export function parseCredential(text: string): Credential | undefined {
  const trimmed = text.trim();
  if (!trimmed) return undefined;
  const hash = trimmed.indexOf('#');
  const fragment = new URLSearchParams(hash >= 0 ? trimmed.slice(hash + 1) : '');
  const token = fragment.get('token');
  const key = fragment.get('key');
  const invite = fragment.get('invite');
  if (invite) return { invite };
  if (token) return { token };
  if (key) return { key };
  if (hash >= 0 || /[\s/]/.test(trimmed)) return undefined;
  return claimsOf(trimmed) ? { token: trimmed } : { key: trimmed };
}

const strength: Record<Role, number> = {
  admin: 4,
  teacher: 3,
  assistant: 2,
  student: 1,
  player: 0,
  ingest: 0,
};

/** For programs, of no use to a page. */
const forPrograms = (role: Role) => strength[role] === 0;

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

  /** Takes the credential out of the fragment of an address, and returns it. */
  takeFragment(hash: string): Credential | undefined {
    const found = hash.startsWith('#') ? parseCredential(hash) : undefined;
    if (found) this.add(found);
    return found;
  }

  /** Keeps a token or a key; a code is kept only once it is redeemed. */
  add(credential: Credential): void {
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

  /** Keeps the token that an invitation was redeemed for. */
  redeem(code: string, token: string): void {
    this.#kept.redeemed[code] = token;
    this.add({ token });
  }

  /**
   * Whether this browser still holds what the invitation gave, so that its link,
   * opened again, does not use it up.
   */
  hasRedeemed(code: string): boolean {
    const token = this.#kept.redeemed[code];
    return this.#usable().some((kept) => kept.token === token);
  }

  /** Forgets one credential, e.g. because the server refused it. */
  forget(credential: string): void {
    if (this.#kept.key === credential) delete this.#kept.key;
    this.#kept.tokens = this.#kept.tokens.filter((token) => token !== credential);
    this.#save();
  }

  clear(): void {
    this.#kept = { tokens: [], redeemed: {} };
    this.#save();
  }

  /**
   * The credential for a room. want "teach": one that may publish; "watch": the
   * invitation first, since that is how the person came.
   */
  for(room: string, want: 'teach' | 'watch'): string | undefined {
    const usable = this.#usable().filter(
      ({ claims }) => !forPrograms(claims.role) && (claims.room === room || claims.room === '*'),
    );
    const teach = usable
      .filter(({ claims }) => strength[claims.role] >= strength.assistant)
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
    const tokens = this.#usable().filter(({ claims }) => !forPrograms(claims.role));
    tokens.sort((a, b) => strength[b.claims.role] - strength[a.claims.role]);
    return [...(this.#kept.key ? [this.#kept.key] : []), ...tokens.map(({ token }) => token)];
  }

  /** The rooms that this browser has tokens for, with the strongest role in each. */
  get places(): Claims[] {
    const best = new Map<string, Claims>();
    for (const { claims } of this.#usable()) {
      const known = best.get(claims.room);
      if (forPrograms(claims.role) || (known && strength[known.role] >= strength[claims.role]))
        continue;
      best.set(claims.room, claims);
    }
    return [...best.values()];
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
      const redeemed = typeof kept.redeemed === 'object' ? { ...kept.redeemed } : {};
      return typeof kept.key === 'string'
        ? { key: kept.key, tokens, redeemed }
        : { tokens, redeemed };
    } catch {
      return { tokens: [], redeemed: {} };
    }
  }

  #save(): void {
    // An invitation whose token is gone may be redeemed again.
    for (const [code, token] of Object.entries(this.#kept.redeemed)) {
      if (!this.#kept.tokens.includes(token)) delete this.#kept.redeemed[code];
    }
    try {
      this.#store.setItem(STORE_KEY, JSON.stringify(this.#kept));
    } catch {
      // A browser that keeps nothing: the credential lives as long as the page.
    }
  }
}

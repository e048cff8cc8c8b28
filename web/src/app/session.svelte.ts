import { Api, type Me } from '../lib/api.ts';
import { Credentials, claimsOf } from '../lib/credentials.ts';

/** Keeps nothing; for browsers that refuse storage. */
const nowhere = { getItem: () => null, setItem: () => undefined };

function storage(): Storage | typeof nowhere {
  try {
    return localStorage;
  } catch {
    return nowhere;
  }
}

/** Who this browser is, for all pages. */
class Session {
  readonly #credentials = new Credentials(storage());
  /** Rises when a credential came or went, so that pages ask again. */
  #version = $state(0);

  constructor() {
    this.takeFragment();
  }

  /** Takes a credential out of the address bar, and out of sight. */
  takeFragment(): void {
    if (!this.#credentials.takeFragment(location.hash)) return;
    history.replaceState(null, '', location.pathname + location.search);
    this.#version++;
  }

  get version(): number {
    return this.#version;
  }

  get known(): boolean {
    return this.#version >= 0 && this.#credentials.all.length > 0;
  }

  get isAdmin(): boolean {
    return this.#version >= 0 && this.#credentials.key !== undefined;
  }

  get all(): string[] {
    return this.#version >= 0 ? this.#credentials.all : [];
  }

  add(credential: { token?: string; key?: string }): void {
    this.#credentials.add(credential);
    this.#version++;
  }

  forget(credential: string): void {
    this.#credentials.forget(credential);
    this.#version++;
  }

  clear(): void {
    this.#credentials.clear();
    this.#version++;
  }

  /** The API with the credential for a room; without one, requests are refused. */
  forRoom(room: string, want: 'teach' | 'watch'): Api {
    return new Api(this.#version >= 0 ? this.#credentials.for(room, want) : undefined);
  }

  /** The API with the strongest credential. */
  get api(): Api {
    return new Api(this.#version >= 0 ? this.#credentials.strongest : undefined);
  }

  /** Whether me may teach in room. */
  static mayTeach(me: Me | undefined, room: string): boolean {
    if (!me) return false;
    return me.role === 'admin' || (me.role === 'teacher' && (me.room === room || me.room === '*'));
  }
}

/**
 * The API for addresses that the browser fetches by itself, with the credential
 * in them: they land in lists of downloads, so they carry no more right than
 * they need.
 */
export async function linkApi(api: Api, room: string, signal?: AbortSignal): Promise<Api> {
  if (claimsOf(api.credential ?? '')?.role === 'student') return api;
  const { token } = await api.invite(room, 'student', '12h', signal);
  return new Api(token);
}

export const session = new Session();
export const mayTeach = (me: Me | undefined, room: string) => Session.mayTeach(me, room);

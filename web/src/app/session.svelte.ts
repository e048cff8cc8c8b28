import { Api, type Me } from '../lib/api.ts';
import type { Granted } from '../lib/access.ts';
import { type Claims, type Credential, Credentials, claimsOf } from '../lib/credentials.ts';
import { PendingInvite } from '../lib/pending.ts';

/** Keeps nothing; for browsers that refuse storage. */
const nowhere = { getItem: () => null, setItem: () => undefined, removeItem: () => undefined };

function storage(which: 'localStorage' | 'sessionStorage'): Storage | typeof nowhere {
  try {
    return window[which];
  } catch {
    return nowhere;
  }
}

/** Who this browser is, for all pages. */
class Session {
  readonly #credentials = new Credentials(storage('localStorage'));
  readonly #pending = new PendingInvite(storage('sessionStorage'));
  /** Rises when a credential came or went, so that pages ask again. */
  #version = $state(0);

  constructor() {
    this.takeFragment();
  }

  /** Takes a credential out of the address bar, and out of sight. */
  takeFragment(): void {
    const found = this.#credentials.takeFragment(location.hash);
    if (!found) return;
    history.replaceState(null, '', location.pathname + location.search);
    if (found.invite) this.takeInvite(found.invite, location.pathname);
    this.#version++;
  }

  /** Takes the code of an invitation to the page at path, to be redeemed there. */
  takeInvite(code: string, path: string): void {
    if (!this.#credentials.hasRedeemed(code)) this.#pending.put(code, path.replace(/\/+$/, ''));
    this.#version++;
  }

  /** The code that waits to be redeemed on this page; '' when there is none. */
  inviteAt(path: string): string {
    return this.#version >= 0 ? this.#pending.at(path) : '';
  }

  /** The invitation gave a token, or will never give one. */
  settleInvite(code: string, granted?: Granted): void {
    this.#pending.clear();
    if (granted) this.#credentials.redeem(code, granted.token);
    this.#version++;
  }

  /** The rooms that this browser may go into. */
  get places(): Claims[] {
    return this.#version >= 0 ? this.#credentials.places : [];
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

  add(credential: Credential): void {
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
}

/** Whether me may lead the classes of room: start and end them, invite. */
export function mayLead(me: Me | undefined, room: string): boolean {
  if (!me) return false;
  return me.role === 'admin' || (me.role === 'teacher' && (me.room === room || me.room === '*'));
}

/** Whether me may speak in room, which opens its studio. */
export function mayTeach(me: Me | undefined, room: string): boolean {
  return mayLead(me, room) || (me?.role === 'assistant' && [room, '*'].includes(me.room));
}

/**
 * The API for addresses that the browser fetches by itself, with the credential
 * in them: they land in lists of downloads, so they carry no more right than
 * they need.
 */
export async function linkApi(api: Api, room: string, signal?: AbortSignal): Promise<Api> {
  const role = claimsOf(api.credential ?? '')?.role;
  // An assistant may make no lesser token.
  if (role === 'student' || role === 'assistant') return api;
  const { token } = await api.issue(room, 'student', '12h', signal);
  return new Api(token);
}

export const session = new Session();

import {
  type Invitation,
  type InvitationWish,
  type KeyWish,
  type NewKey,
  type ProgramKey,
  type Rules,
  type RulesChange,
  addKey,
  changeRules,
  dropKey,
  endOf,
  invitationsOf,
  invite,
  keysOf,
  rulesOf,
  stateOf,
  timeOf,
  withdraw,
} from '../lib/access.ts';
import type { Api } from '../lib/api.ts';
import { type Problem, toProblem } from '../lib/problem.ts';
import { classPath } from './router.svelte.ts';

/** The link for students that this browser hands on, kept so that it stays the same. */
interface ClassLink {
  id: string;
  link: string;
}

/** A link with less than this left is made anew, ms. */
const LINK_LEFT = 24 * 3600 * 1000;

/** Who may come into one room, as those who lead it see and change it. */
export class AccessModel {
  readonly room: string;
  readonly #api: Api;

  rules = $state.raw<Rules>();
  invitations = $state.raw<Invitation[]>();
  keys = $state.raw<ProgramKey[]>();
  /** Why the last thing asked for was not done. */
  problem = $state.raw<Problem>();
  #link = $state.raw<ClassLink>();

  /** What a teacher hands on to the class: one address, by the rules of the room. */
  readonly classLink: string = $derived.by(() => {
    const mode = this.rules?.mode;
    if (mode === 'open' || mode === 'passcode') return location.origin + classPath(this.room);
    return this.#link?.link ?? '';
  });
  /** The invitation behind the address of the class. */
  readonly classLinkId: string = $derived(this.#link?.id ?? '');

  constructor(api: Api, room: string) {
    this.#api = api;
    this.room = room;
  }

  /** Asks for the rules and sees to the link of the class. Problems show in this.problem. */
  async load(signal?: AbortSignal): Promise<void> {
    await this.#try(async () => {
      this.rules = await rulesOf(this.#api, this.room, signal);
      await this.loadInvitations(signal);
      if (this.rules.mode === 'link') await this.#ensureLink();
    }, signal);
  }

  async loadInvitations(signal?: AbortSignal): Promise<void> {
    this.invitations = await invitationsOf(this.#api, this.room, signal);
  }

  async loadKeys(signal?: AbortSignal): Promise<void> {
    await this.#try(async () => {
      this.keys = await keysOf(this.#api, this.room, signal);
    }, signal);
  }

  /** Asks for invitations again: how often they were used changes by itself. */
  async refresh(signal?: AbortSignal): Promise<void> {
    await this.#try(() => this.loadInvitations(signal), signal);
  }

  /** True when the server has taken the change. */
  change(change: RulesChange): Promise<boolean> {
    return this.#try(async () => {
      this.rules = await changeRules(this.#api, this.room, change);
      if (this.rules.mode === 'link') await this.#ensureLink();
    });
  }

  async invite(wish: InvitationWish): Promise<Invitation | undefined> {
    let made: Invitation | undefined;
    await this.#try(async () => {
      made = await invite(this.#api, this.room, wish);
      await this.loadInvitations();
    });
    return made;
  }

  withdraw(id: string): Promise<boolean> {
    return this.#try(async () => {
      await withdraw(this.#api, this.room, id);
      await this.loadInvitations();
      if (id !== this.#link?.id) return;
      // The class needs an address again: the old one is worth nothing now.
      this.#link = undefined;
      await this.#ensureLink();
    });
  }

  async addKey(wish: KeyWish): Promise<NewKey | undefined> {
    let made: NewKey | undefined;
    await this.#try(async () => {
      made = await addKey(this.#api, this.room, wish);
      this.keys = await keysOf(this.#api, this.room);
    });
    return made;
  }

  dropKey(id: string): Promise<boolean> {
    return this.#try(async () => {
      await dropKey(this.#api, this.room, id);
      this.keys = await keysOf(this.#api, this.room);
    });
  }

  /** One invitation without a name and without a count, for the whole class. */
  async #ensureLink(): Promise<void> {
    this.#link ??= this.#kept();
    if (this.#link && this.#honoured(this.#link.id)) return;
    const expires = endOf('term', Date.now()).toISOString();
    const made = await invite(this.#api, this.room, { role: 'student', expires });
    this.#link = { id: made.id, link: made.link ?? '' };
    try {
      localStorage.setItem(this.#storeKey, JSON.stringify(this.#link));
    } catch {
      // Not kept: another visit makes another link.
    }
    await this.loadInvitations();
  }

  #honoured(id: string): boolean {
    const now = Date.now();
    const found = this.invitations?.find((invitation) => invitation.id === id);
    if (!found || stateOf(found, now) !== 'good') return false;
    const expires = timeOf(found.expires);
    return !expires || expires - now > LINK_LEFT;
  }

  #kept(): ClassLink | undefined {
    try {
      const kept = JSON.parse(localStorage.getItem(this.#storeKey) ?? 'null') as ClassLink | null;
      const fits = typeof kept?.id === 'string' && typeof kept.link === 'string';
      // Another address of the same server may not be reached by those who get the link.
      return fits && kept.link.startsWith(location.origin) ? kept : undefined;
    } catch {
      return undefined;
    }
  }

  get #storeKey(): string {
    return `lectern.invitation.${this.room}`;
  }

  async #try(work: () => Promise<void>, signal?: AbortSignal): Promise<boolean> {
    this.problem = undefined;
    try {
      await work();
      return true;
    } catch (err) {
      if (!signal?.aborted) this.problem = toProblem(err);
      return false;
    }
  }
}

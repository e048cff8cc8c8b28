// Who may come in: the door of a room, its rules, invitations and keys.

import { type Api, roomPath } from './api.ts';
import type { Role } from './events.ts';
import type { Problem } from './problem.ts';

/** Who comes in: everybody, holders of a link, those who know the passcode, or nobody. */
export type Mode = 'open' | 'link' | 'passcode' | 'closed';

export const modes: readonly Mode[] = ['link', 'open', 'passcode', 'closed'];

/** What anybody may know of a room. */
export interface Door {
  room: string;
  mode: Mode;
  live: boolean;
  /** Only of an open room. */
  title?: string;
}

/** What was given at a door. */
export interface Granted {
  token: string;
  id?: string;
  expires: string;
  subject: string;
  role: Role;
  room: string;
  name: string;
}

export interface Rules {
  mode: Mode;
  passcode_set: boolean;
  /** Whether students may write and share files. */
  chat: boolean;
  files: boolean;
}

export type RulesChange = Partial<{ mode: Mode; passcode: string; chat: boolean; files: boolean }>;

export interface Invitation {
  id: string;
  room: string;
  role: Role;
  name?: string;
  not_before?: string | null;
  expires?: string | null;
  /** How often it may be redeemed; 0: without limit. */
  uses: number;
  used: number;
  created?: string;
  by?: string;
  revoked?: boolean;
  /** Only in the answer to its making. */
  link?: string;
}

export interface InvitationWish {
  role: Role;
  name?: string;
  not_before?: string;
  expires?: string;
  uses?: number;
}

/** A key for a program: an encoder that publishes, or a player that reads. */
export interface ProgramKey {
  id: string;
  room: string;
  role: Role;
  slot?: string;
  name?: string;
  created?: string;
  expires?: string | null;
  last_used?: string | null;
}

/** A key that was just made, with what is shown once. */
export interface NewKey extends ProgramKey {
  key: string;
  whip?: string;
  rtmp?: string;
  rtsp?: string;
  /** The same with user and password in it. */
  rtsp_login?: string;
  user?: string;
  password?: string;
  /** The ends of command lines. */
  encoder?: { ffmpeg?: string; gstreamer?: string };
}

export interface KeyWish {
  role: 'ingest' | 'player';
  name?: string;
  slot?: string;
  expires?: string;
}

export const doorOf = (api: Api, room: string, signal?: AbortSignal): Promise<Door> =>
  api.call('GET', `${roomPath(room)}/door`, undefined, signal);

/** Enters an open room, or one with a passcode. */
export function enter(
  api: Api,
  room: string,
  who: { name: string; passcode?: string },
  signal?: AbortSignal,
): Promise<Granted> {
  return api.call('POST', `${roomPath(room)}/enter`, who, signal);
}

/** Makes a token of the code of an invitation; the name is that of the invitation. */
export const redeem = (api: Api, code: string, signal?: AbortSignal): Promise<Granted> =>
  api.call('POST', '/api/invitations/redeem', { code }, signal);

export const rulesOf = (api: Api, room: string, signal?: AbortSignal): Promise<Rules> =>
  api.call('GET', `${roomPath(room)}/access`, undefined, signal);

export const changeRules = (api: Api, room: string, change: RulesChange): Promise<Rules> =>
  api.call('PUT', `${roomPath(room)}/access`, change);

/** The newest first. */
export async function invitationsOf(
  api: Api,
  room: string,
  signal?: AbortSignal,
): Promise<Invitation[]> {
  const path = `${roomPath(room)}/invitations`;
  const { invitations } = await api.call<{ invitations: Invitation[] | null }>(
    'GET',
    path,
    undefined,
    signal,
  );
  return newestFirst(invitations ?? []);
}

export const invite = (api: Api, room: string, wish: InvitationWish): Promise<Invitation> =>
  api.call('POST', `${roomPath(room)}/invitations`, wish);

/** Ends an invitation and the sessions of those who came with it. */
export const withdraw = (api: Api, room: string, id: string): Promise<void> =>
  api.call('DELETE', `${roomPath(room)}/invitations/${encodeURIComponent(id)}`);

/** The newest first. */
export async function keysOf(api: Api, room: string, signal?: AbortSignal): Promise<ProgramKey[]> {
  const { keys } = await api.call<{ keys: ProgramKey[] | null }>(
    'GET',
    `${roomPath(room)}/keys`,
    undefined,
    signal,
  );
  return newestFirst(keys ?? []);
}

export const addKey = (api: Api, room: string, wish: KeyWish): Promise<NewKey> =>
  api.call('POST', `${roomPath(room)}/keys`, wish);

export const dropKey = (api: Api, room: string, id: string): Promise<void> =>
  api.call('DELETE', `${roomPath(room)}/keys/${encodeURIComponent(id)}`);

export const revokeToken = (api: Api, id: string): Promise<void> =>
  api.call('DELETE', `/api/tokens/${encodeURIComponent(id)}`);

function newestFirst<T extends { created?: string }>(list: T[]): T[] {
  return [...list].sort((a, b) => timeOf(b.created) - timeOf(a.created));
}

/** A time of the API in ms since the epoch; 0 for none. */
export function timeOf(text: string | null | undefined): number {
  // Go's zero time means none.
  return !text || text.startsWith('0001-') ? 0 : Date.parse(text) || 0;
}

export type InvitationState = 'good' | 'not_yet' | 'expired' | 'used_up' | 'revoked';

/** What an invitation is worth at a time (ms since the epoch). */
export function stateOf(invitation: Invitation, now: number): InvitationState {
  if (invitation.revoked) return 'revoked';
  const expires = timeOf(invitation.expires);
  if (expires && expires <= now) return 'expired';
  if (invitation.uses > 0 && invitation.used >= invitation.uses) return 'used_up';
  return timeOf(invitation.not_before) > now ? 'not_yet' : 'good';
}

/** How long an invitation or key lasts, as people say it. */
export type Span = 'lesson' | 'day' | 'week' | 'term' | 'other';

export const spans: readonly Span[] = ['lesson', 'day', 'week', 'term', 'other'];

const HOUR = 3600_000;

/** When a span that begins at from (ms since the epoch) ends. */
export function endOf(span: Exclude<Span, 'other'>, from: number): Date {
  if (span === 'lesson') return new Date(from + 3 * HOUR);
  const end = new Date(from);
  // Until midnight where the person is, however long that day is.
  end.setHours(24, 0, 0, 0);
  if (span === 'week') end.setDate(end.getDate() + 7);
  if (span === 'term') end.setMonth(end.getMonth() + 6);
  return end;
}

/** A time for a field of type datetime-local, in the time of this place. */
export function toField(at: Date): string {
  const two = (n: number) => String(n).padStart(2, '0');
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day}T${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** What a field of type datetime-local says, for the API; '' when it is empty or wrong. */
export function fromField(text: string): string {
  const at = new Date(text);
  return text && !Number.isNaN(at.getTime()) ? at.toISOString() : '';
}

/** Codes that turn a person away who was let in before. */
const turning = new Set(['room_closed', 'token_expired', 'token_revoked']);

/** Whether a problem says that this person may not be here, or no longer. */
export function turnsAway(problem: Problem): boolean {
  return problem.status === 401 || turning.has(problem.code);
}

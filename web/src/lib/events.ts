// What happened in a room: one set of types for the live channel, for the
// history over HTTP and for the replay of a lecture.

export type Role = 'admin' | 'teacher' | 'assistant' | 'student' | 'player' | 'ingest';

const roles: readonly string[] = ['admin', 'teacher', 'assistant', 'student', 'player', 'ingest'];

export const isRole = (value: unknown): value is Role => roles.includes(value as string);

/** Whether a role lowers the hands of others and stands among those who teach. */
export const moderates = (role: string | undefined): boolean =>
  role === 'admin' || role === 'teacher' || role === 'assistant';

export interface Person {
  id: string;
  name: string;
  role: Role;
  lang?: string;
  hand?: boolean;
}

/** Fields that every event has. t only in lectures: ms on the lecture's timeline. */
interface Base {
  seq: number;
  /** ms since the epoch. */
  at: number;
  /** Member id; missing: the server. */
  by?: string;
  t?: number;
}

export interface SayEvent extends Base {
  type: 'say';
  text: string;
  from?: string;
  role?: Role;
}

export interface HandEvent extends Base {
  type: 'hand';
  up: boolean;
  from?: string;
  /** Whose hand, when not the sender's own. */
  who?: string;
}

export interface PeopleEvent extends Base {
  type: 'people';
  joined?: Person[];
  left?: string[];
  total?: number;
  /** Nobody of before is here. */
  reset?: boolean;
}

export interface FileEvent extends Base {
  type: 'file';
  id: string;
  name: string;
  size: number;
  media_type?: string;
  sha256?: string;
  url?: string;
  from?: string;
}

export interface ClassEvent extends Base {
  type: 'class';
  /** live, interrupted, resumed, ended. */
  state: string;
  class?: string;
  title?: string;
  lecture?: string;
  why?: string;
}

export interface StreamEvent extends Base {
  type: 'stream';
  slot: string;
  /** live, lost, ended. */
  state: string;
}

export interface RecordingEvent extends Base {
  type: 'recording';
  /** on, off, suspended, complete, failed. */
  state: string;
  lecture?: string;
  slot?: string;
  why?: string;
}

export type RoomEvent =
  SayEvent | HandEvent | PeopleEvent | FileEvent | ClassEvent | StreamEvent | RecordingEvent;

const known = new Set(['say', 'hand', 'people', 'file', 'class', 'stream', 'recording']);

/** Whether value is an event that this page knows; others are ignored. */
export function isRoomEvent(value: unknown): value is RoomEvent {
  if (typeof value !== 'object' || value === null) return false;
  const { type, seq, at } = value as Record<string, unknown>;
  return (
    typeof type === 'string' &&
    known.has(type) &&
    typeof seq === 'number' &&
    typeof at === 'number' &&
    fits(value as Record<string, unknown>)
  );
}

/** The fields without which an event of its type says nothing. */
function fits(value: Record<string, unknown>): boolean {
  switch (value['type']) {
    case 'say':
      return typeof value['text'] === 'string';
    case 'hand':
      return typeof value['up'] === 'boolean';
    case 'file':
      return typeof value['id'] === 'string' && typeof value['name'] === 'string';
    case 'class':
    case 'recording':
      return typeof value['state'] === 'string';
    case 'stream':
      return typeof value['slot'] === 'string' && typeof value['state'] === 'string';
    default:
      return true;
  }
}

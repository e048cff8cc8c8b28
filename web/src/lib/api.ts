import { abortReason } from './backoff.ts';
import type { Role, RoomEvent } from './events.ts';
import { isRoomEvent } from './events.ts';
import { Problem, problemOf, toProblem } from './problem.ts';

export interface Info {
  version: string;
  rtsp_port: number;
  rtmp_port: number;
  ffmpeg: { available: boolean; reason?: string };
  recording: boolean;
  limits?: Record<string, number>;
}

export interface Me {
  role: Role;
  room: string;
  name: string;
  subject: string;
  expires?: string;
}

export interface RoomSummary {
  name: string;
  live: boolean;
  state: RoomState;
  title?: string;
  started_at?: string;
  viewers: number;
  players: number;
  people: number;
}

export type RoomState = 'idle' | 'live' | 'interrupted';

export interface ClassInfo {
  id: string;
  title: string;
  started_at: string;
  recording: boolean;
  lecture_id?: string;
  origin: string;
}

export interface Legacy {
  url: string;
  ready: boolean;
  reason?: string;
}

export interface SlotInfo {
  slot: string;
  live: boolean;
  tracks: { kind: string; codec: string }[];
  viewers: number;
  players: { rtmp: number; rtsp: number };
  legacy: { rtmp?: Legacy; rtsp?: Legacy };
}

export interface RoomInfo {
  name: string;
  state: RoomState;
  class: ClassInfo | null;
  streams: SlotInfo[];
  people: number;
  viewers: number;
  waiting: number;
  /** The server's clock. */
  now: string;
}

export type LectureState = 'recording' | 'complete' | 'recovered';

export interface LectureSummary {
  id: string;
  room: string;
  title: string;
  state: LectureState;
  started_at: string;
  duration_ms: number;
  bytes: number;
  gaps: number;
  tracks: { kind: string; stream?: string; codec?: string }[];
}

export interface LectureTrack {
  id: string;
  stream: string;
  kind: string;
  codec: string;
  file: string;
  bytes: number;
  width?: number;
  height?: number;
}

export interface Gap {
  stream: string;
  kind: string;
  from_ms: number;
  to_ms: number;
  reason: string;
}

export interface LectureFile {
  id: string;
  name: string;
  size: number;
  media_type: string;
  at_ms: number;
}

export interface Lecture {
  id: string;
  room: string;
  title: string;
  state: LectureState;
  started_at: string;
  duration_ms: number;
  bytes?: number;
  tracks: LectureTrack[];
  gaps: Gap[];
  files: LectureFile[];
  error?: string;
}

export interface SharedFile {
  id: string;
  name: string;
  size: number;
  media_type?: string;
  by?: string;
  at?: string;
}

/** A token that was just made. */
export interface Issued {
  /** By which it is revoked. */
  id?: string;
  token: string;
  expires: string;
  link: string;
  /** Addresses for players, with the token in them. */
  legacy?: { rtmp?: string; rtsp?: string };
}

const REQUEST_TIMEOUT = 15_000;

/** The HTTP API, with one credential. Every method rejects with a Problem. */
export class Api {
  readonly #credential: string | undefined;
  readonly #fetch: typeof fetch;

  constructor(credential?: string, fetcher?: typeof fetch) {
    this.#credential = credential;
    this.#fetch = fetcher ?? ((input, init) => fetch(input, init));
  }

  get credential(): string | undefined {
    return this.#credential;
  }

  info(signal?: AbortSignal): Promise<Info> {
    return this.#json('GET', '/api/info', signal);
  }

  me(signal?: AbortSignal): Promise<Me> {
    return this.#json('GET', '/api/me', signal);
  }

  async rooms(signal?: AbortSignal): Promise<RoomSummary[]> {
    const { rooms } = await this.#json<{ rooms: RoomSummary[] | null }>(
      'GET',
      '/api/rooms',
      signal,
    );
    return rooms ?? [];
  }

  async room(name: string, signal?: AbortSignal): Promise<RoomInfo> {
    const info = await this.#json<RoomInfo>('GET', roomPath(name), signal);
    return { ...info, streams: info.streams ?? [] };
  }

  startClass(room: string, title: string, record: boolean, signal?: AbortSignal): Promise<unknown> {
    return this.#json('POST', `${roomPath(room)}/class`, signal, { title, record });
  }

  async endClass(room: string, signal?: AbortSignal): Promise<void> {
    await this.#request('DELETE', `${roomPath(room)}/class`, signal);
  }

  /** ttl in Go's notation, e.g. "24h". */
  issue(room: string, role: Role, ttl: string, signal?: AbortSignal): Promise<Issued> {
    return this.#json('POST', '/api/tokens', signal, { room, role, ttl });
  }

  /** The events after since, oldest first. */
  async events(room: string, since: number, signal?: AbortSignal): Promise<RoomEvent[]> {
    const path = `${roomPath(room)}/events?since=${since}&limit=1000`;
    return eventsOf(await this.#json<unknown>('GET', path, signal));
  }

  async files(room: string, signal?: AbortSignal): Promise<SharedFile[]> {
    const { files } = await this.#json<{ files: SharedFile[] | null }>(
      'GET',
      `${roomPath(room)}/files`,
      signal,
    );
    return files ?? [];
  }

  async lectures(room?: string, signal?: AbortSignal): Promise<LectureSummary[]> {
    const query = room ? `?room=${encodeURIComponent(room)}` : '';
    const { lectures } = await this.#json<{ lectures: LectureSummary[] | null }>(
      'GET',
      `/api/lectures${query}`,
      signal,
    );
    return (lectures ?? []).map((lecture) => ({ ...lecture, tracks: lecture.tracks ?? [] }));
  }

  async lecture(id: string, signal?: AbortSignal): Promise<Lecture> {
    const lecture = await this.#json<Lecture>('GET', lecturePath(id), signal);
    return {
      ...lecture,
      tracks: lecture.tracks ?? [],
      gaps: lecture.gaps ?? [],
      files: lecture.files ?? [],
    };
  }

  async lectureEvents(id: string, signal?: AbortSignal): Promise<RoomEvent[]> {
    const response = await this.#request('GET', `${lecturePath(id)}/events`, signal);
    const text = await response.text();
    try {
      return eventsOf(JSON.parse(text));
    } catch {
      // One object per line, as the recording keeps them.
      return eventsOf(text.split('\n').flatMap(parseLine));
    }
  }

  async deleteLecture(id: string, signal?: AbortSignal): Promise<void> {
    await this.#request('DELETE', lecturePath(id), signal);
  }

  /** The poster as an object URL, which the caller revokes; undefined if there is none. */
  async poster(id: string, signal?: AbortSignal): Promise<string | undefined> {
    try {
      const response = await this.#request('GET', `${lecturePath(id)}/poster`, signal);
      const blob = await response.blob();
      return blob.size > 0 ? URL.createObjectURL(blob) : undefined;
    } catch (err) {
      if (signal?.aborted) throw err;
      return undefined;
    }
  }

  /** Whether there is something at path, without fetching it. */
  async has(path: string, signal?: AbortSignal): Promise<boolean> {
    try {
      await this.#request('HEAD', path, signal);
      return true;
    } catch (err) {
      if (signal?.aborted) throw err;
      return false;
    }
  }

  /** One request whose answer is JSON or nothing; for what has a module of its own. */
  call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    return this.#json(method, path, signal, body);
  }

  /** path with the credential in it, for what the browser fetches by itself. */
  signed(path: string): string {
    if (!this.#credential) return path;
    return `${path}${path.includes('?') ? '&' : '?'}token=${encodeURIComponent(this.#credential)}`;
  }

  async #json<T>(method: string, path: string, signal?: AbortSignal, body?: unknown): Promise<T> {
    const response = await this.#request(method, path, signal, body);
    if (response.status === 204) return undefined as T;
    try {
      return (await response.json()) as T;
    } catch {
      throw new Problem('bad_answer', 'the answer is not what was expected', response.status);
    }
  }

  async #request(
    method: string,
    path: string,
    signal?: AbortSignal,
    body?: unknown,
  ): Promise<Response> {
    const headers: Record<string, string> = { Accept: 'application/json' };
    if (this.#credential) headers['Authorization'] = `Bearer ${this.#credential}`;
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const limit = AbortSignal.timeout(REQUEST_TIMEOUT);
    let response: Response;
    try {
      response = await this.#fetch(path, {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        cache: 'no-store',
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
      });
    } catch (err) {
      if (signal?.aborted) throw abortReason(signal);
      throw limit.aborted ? new Problem('network', 'no answer in time') : toProblem(err);
    }
    if (!response.ok) throw await problemOf(response);
    return response;
  }
}

export const roomPath = (room: string) => `/api/rooms/${encodeURIComponent(room)}`;
export const lecturePath = (id: string) => `/api/lectures/${encodeURIComponent(id)}`;

function eventsOf(value: unknown): RoomEvent[] {
  const list: unknown = Array.isArray(value)
    ? value
    : (value as { events?: unknown } | null)?.events;
  return Array.isArray(list) ? list.filter(isRoomEvent) : [];
}

function parseLine(line: string): unknown[] {
  try {
    return line ? [JSON.parse(line)] : [];
  } catch {
    return []; // The last line of a growing file may be half written.
  }
}

import type { Api, ClassInfo, RoomInfo, RoomState, SharedFile } from '../lib/api.ts';
import { Chat, type Limits, type Pending } from '../lib/chat.ts';
import type { FileEvent, Person, RoomEvent } from '../lib/events.ts';
import { Files, type Upload } from '../lib/files.ts';
import { pause } from '../lib/backoff.ts';
import { type Problem, toProblem } from '../lib/problem.ts';
import type { PeerSession } from '../lib/session.ts';

export type RailTab = 'chat' | 'files' | 'people';

/** How often the room is asked for what no event tells: counts, players. Milliseconds. */
const POLL = 4000;
const MAX_ENTRIES = 2000;

/**
 * One room as a page sees it: its state, people, chat and files, over any
 * number of connections. Reactive; owned by the page, which closes it.
 */
export class RoomModel {
  readonly name: string;
  readonly chat: Chat;
  readonly files: Files;
  readonly #api: Api;
  readonly #stop = new AbortController();
  #wake = new AbortController();

  info = $state.raw<RoomInfo>();
  /** Why the room could not be asked the last time. */
  problem = $state.raw<Problem>();
  state = $state<RoomState>('idle');
  /** The class that is on, or was when the page last saw one. */
  lastClass = $state.raw<ClassInfo>();
  entries = $state.raw<RoomEvent[]>([]);
  shared = $state.raw<SharedFile[]>([]);
  people = $state.raw<Person[]>([]);
  hands = $state.raw<{ person: Person; at: number }[]>([]);
  total = $state(0);
  you = $state.raw<Person>();
  limits = $state.raw<Limits>();
  online = $state(false);
  pending = $state.raw<Pending[]>([]);
  uploads = $state.raw<Upload[]>([]);
  /** Events up to this one exist but were not sent; 0: none are missing. */
  missingTo = $state(0);
  /** What came in while its tab was not in sight. */
  unseen = $state({ chat: 0, files: 0 });
  tab = $state<RailTab>('chat');
  /** The server's clock minus ours, in milliseconds. */
  clockOffset = $state(0);

  constructor(api: Api, name: string, who: { name: string; lang: string; key?: string }) {
    this.#api = api;
    this.name = name;
    this.chat = new Chat(who);
    this.files = new Files({ limit: () => this.chat.limits.fileBytes });
    this.#listen();
  }

  /** Streams that are live now, by slot. */
  get liveSlots(): string[] {
    return (this.info?.streams ?? []).filter((s) => s.live).map((s) => s.slot);
  }

  /** Asks for the state of the room again and again until closed. */
  async start(): Promise<void> {
    const { signal } = this.#stop;
    void this.#loadFiles();
    while (!signal.aborted) {
      await this.refresh();
      this.#wake = new AbortController();
      await pause(POLL, signal, this.#wake.signal).catch(() => undefined);
    }
  }

  /** Asks for the state of the room now. */
  async refresh(): Promise<void> {
    const { signal } = this.#stop;
    try {
      const asked = Date.now();
      const info = await this.#api.room(this.name, signal);
      const took = Date.now() - asked;
      this.clockOffset = Date.parse(info.now) - asked - took / 2 || 0;
      this.info = info;
      this.state = info.state;
      if (info.class) this.lastClass = info.class;
      this.problem = undefined;
    } catch (err) {
      if (!signal.aborted) this.problem = toProblem(err);
    }
  }

  /** Carries chat and files over the channels of a session from now on. */
  attach(session: PeerSession): void {
    if (session.chat) this.chat.attach(session.chat);
    if (session.files) this.files.attach(session.files);
  }

  /** Fetches the events that the channel left out. */
  async loadEarlier(): Promise<void> {
    const first = this.entries[0]?.seq ?? this.missingTo + 1;
    const since = Math.max(0, first - 1 - 500);
    const older = await this.#api.events(this.name, since, this.#stop.signal);
    this.#insert(older.filter((event) => event.seq < first));
    this.missingTo = since;
  }

  show(tab: RailTab): void {
    this.tab = tab;
    if (tab !== 'people') this.unseen[tab] = 0;
  }

  close(): void {
    this.#stop.abort();
    this.chat.detach();
    this.files.detach();
  }

  #listen(): void {
    const { signal } = this.#stop;
    const { chat } = this;
    chat.on('event', (event) => this.#event(event), signal);
    chat.on('online', (online) => (this.online = online), signal);
    chat.on('pending', (pending) => (this.pending = pending), signal);
    chat.on(
      'welcome',
      ({ you, limits }) => {
        this.you = you;
        this.limits = limits;
        void this.#loadFiles();
        this.#wake.abort(); // the counts have changed by one
      },
      signal,
    );
    chat.on(
      'reset',
      () => {
        this.entries = [];
        this.missingTo = 0;
      },
      signal,
    );
    chat.on('truncated', ({ since, from }) => void this.#truncated(since, from), signal);
    chat.on(
      'roster',
      (roster) => {
        this.people = roster.people;
        this.hands = roster.hands;
        this.total = roster.total;
      },
      signal,
    );
    this.files.on('uploads', (uploads) => (this.uploads = uploads), signal);
  }

  /** The channel left out the events between: fetched now if we were here, else on demand. */
  async #truncated(since: number, from: number): Promise<void> {
    if (this.entries.length === 0) {
      this.missingTo = Math.max(0, from - 1);
      return;
    }
    const missed = await this.#api
      .events(this.name, since, this.#stop.signal)
      .catch((): RoomEvent[] => []);
    this.#insert(missed.filter((event) => event.seq < from));
  }

  #event(event: RoomEvent): void {
    if (event.type === 'people') return;
    this.#insert([event]);
    const mine = event.by !== undefined && event.by === this.you?.id;
    if (event.type === 'say' && this.tab !== 'chat' && !mine) this.unseen.chat++;
    if (event.type === 'file') this.#fileCame(event, mine);
    if (event.type === 'class' || event.type === 'stream' || event.type === 'recording') {
      this.#wake.abort();
    }
  }

  #fileCame(event: FileEvent, mine: boolean): void {
    if (this.shared.some((file) => file.id === event.id)) return;
    const { id, name, size, media_type, by } = event;
    const at = new Date(event.at).toISOString();
    this.shared = [...this.shared, { id, name, size, media_type, by, at }];
    if (this.tab !== 'files' && !mine) this.unseen.files++;
  }

  async #loadFiles(): Promise<void> {
    try {
      this.shared = await this.#api.files(this.name, this.#stop.signal);
    } catch {
      // Their announcements in the chat remain; the next welcome asks again.
    }
  }

  #insert(events: RoomEvent[]): void {
    const known = new Set(this.entries.map((entry) => entry.seq));
    const fresh = events.filter((event) => event.type !== 'people' && !known.has(event.seq));
    if (fresh.length === 0) return;
    const all = [...this.entries, ...fresh].sort((a, b) => a.seq - b.seq);
    this.entries = all.slice(-MAX_ENTRIES);
  }
}

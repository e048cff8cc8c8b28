import { untrack } from 'svelte';
import type { Api } from '../lib/api.ts';
import { type LinkState, beginning } from '../lib/link.ts';
import { pause } from '../lib/backoff.ts';
import type { PeerSession } from '../lib/session.ts';
import { type Path, linesReceived, pathOf, reports } from '../lib/stats.ts';
import { Viewer } from '../lib/whep.ts';
import { QualityModel } from './quality.svelte.ts';
import { RoomModel } from './room.svelte.ts';

/**
 * What the stage of the class page shows:
 * - joining: not connected yet
 * - waiting: connected, no class
 * - live: the class is on
 * - interrupted: the teacher's connection is away
 * - lost: ours is
 * - ended: there was a class
 * - failed: refused for good
 */
export type Phase = 'joining' | 'waiting' | 'live' | 'interrupted' | 'lost' | 'ended' | 'failed';

/** One stream beside the main one. */
interface Extra {
  slot: string;
  viewer: Viewer;
  stop: AbortController;
}

const MAX_EXTRAS = 3;
/** How often the browser is asked what it gets and by which way, ms. */
const STATS_EVERY = 2000;

/** A student's side of a class: one viewer for the main stream, with the data, and one for each other. */
export class ClassModel {
  readonly room: RoomModel;
  readonly #api: Api;
  readonly #stop = new AbortController();
  readonly #main: Viewer;
  #extras: Extra[] = [];
  /** How good the picture is, and shall be. */
  readonly quality = new QualityModel();

  link = $state.raw<LinkState>(beginning);
  /** The way that picture and sound take; undefined while there is none. */
  path = $state.raw<Path>();
  /** What to show, by slot. */
  streams = $state.raw<Record<string, MediaStream>>({});
  /** There was a class while this page was open. */
  sawClass = $state(false);
  /** When the class ended, ms since the epoch. */
  endedAt = $state(0);
  /** When the class that ended had started. */
  startedAt = $state(0);

  readonly phase: Phase = $derived.by(() => {
    const { phase } = this.link;
    if (phase === 'failed') return 'failed';
    const live = this.room.state !== 'idle';
    if (phase === 'lost' && live && this.sawClass) return 'lost';
    if (phase === 'connecting' || phase === 'lost') {
      return this.endedAt && !live ? 'ended' : 'joining';
    }
    if (!live) return this.sawClass ? 'ended' : 'waiting';
    if (this.mainLive) return 'live';
    return this.sawClass && this.streams['main'] ? 'interrupted' : 'waiting';
  });

  /** The main stream has its publisher. */
  readonly mainLive: boolean = $derived.by(
    () => this.room.state === 'live' && this.room.liveSlots.includes('main'),
  );

  /** Slots with a picture to show, the largest first: what is shared is the point. */
  readonly slots: string[] = $derived.by(() => [
    ...this.room.liveSlots.filter((slot) => slot === 'screen' && this.streams[slot]),
    'main',
    ...this.room.liveSlots.filter((s) => !['main', 'screen'].includes(s) && this.streams[s]),
  ]);

  constructor(api: Api, name: string, who: { name: string; lang: string; key: string }) {
    this.#api = api;
    this.room = new RoomModel(api, name, who);
    this.#main = new Viewer({
      room: name,
      credential: api.credential ?? '',
      channels: true,
      expectMedia: () => this.mainLive,
    });
    const { signal } = this.#stop;
    this.#main.on('state', (state) => (this.link = state), signal);
    this.#main.on('session', (session) => this.#mainSession(session), signal);
    this.room.chat.on(
      'event',
      (event) => {
        // Sooner than the next poll: what is not to be expected is not missed.
        if (event.type === 'class' || event.type === 'stream') void this.room.refresh();
      },
      signal,
    );
    $effect(() => this.#followRoom());
  }

  /** Runs until close. */
  start(): void {
    void this.room.start();
    void this.#main.start(this.#stop.signal);
    void this.#followStats();
  }

  retryNow(): void {
    this.#main.retryNow();
    for (const { viewer } of this.#extras) viewer.retryNow();
  }

  /** Leaves. The server is told, so that the count of people is right at once. */
  close(): void {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    this.room.close();
    void this.#main.close();
    for (const extra of this.#extras) this.#end(extra);
  }

  async #followStats(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const { session } = this.#main;
      const all = session?.connected ? await reports(session.pc).catch(() => undefined) : undefined;
      this.path = all && pathOf(all);
      this.quality.got(all && this.phase === 'live' ? linesReceived(all.values()) : 0, Date.now());
      await pause(STATS_EVERY, signal).catch(() => undefined);
    }
  }

  #mainSession(session: PeerSession): void {
    this.room.attach(session);
    this.quality.follow(session, 'main');
    this.#show('main', session);
  }

  /** Shows the tracks of a session once there is something in them. */
  #show(slot: string, session: PeerSession): void {
    const stream = new MediaStream();
    const first = this.streams[slot] === undefined;
    const swap = () => {
      if (this.streams[slot] !== stream) this.streams = { ...this.streams, [slot]: stream };
    };
    session.on('track', (track) => {
      stream.addTrack(track);
      // The old picture stays, veiled, until the new session has one.
      if (first) swap();
      else track.addEventListener('unmute', swap, { once: true });
    });
  }

  /** Runs again whenever the state of the room or its streams change. */
  #followRoom(): void {
    const { state, info, lastClass, liveSlots } = this.room;
    untrack(() => {
      if (state !== 'idle') {
        this.sawClass = true;
        this.endedAt = 0;
        this.startedAt = lastClass ? Date.parse(lastClass.started_at) : 0;
      } else if (this.sawClass && !this.endedAt && info) {
        this.endedAt = Date.now() + this.room.clockOffset;
      }
      this.#followSlots(liveSlots.filter((slot) => slot !== 'main').slice(0, MAX_EXTRAS));
    });
  }

  #followSlots(wanted: string[]): void {
    const gone = this.#extras.filter(({ slot }) => !wanted.includes(slot));
    for (const extra of gone) this.#end(extra);
    this.#extras = this.#extras.filter((extra) => !gone.includes(extra));
    for (const slot of wanted) {
      if (!this.#extras.some((extra) => extra.slot === slot)) this.#extras.push(this.#watch(slot));
    }
  }

  #watch(slot: string): Extra {
    const stop = new AbortController();
    const viewer = new Viewer({
      room: this.room.name,
      slot,
      credential: this.#api.credential ?? '',
      expectMedia: () => this.room.liveSlots.includes(slot),
    });
    viewer.on(
      'session',
      (session) => {
        this.quality.follow(session, slot);
        this.#show(slot, session);
      },
      stop.signal,
    );
    void viewer.start(stop.signal);
    return { slot, viewer, stop };
  }

  #end({ slot, viewer, stop }: Extra): void {
    stop.abort();
    void viewer.close();
    const { [slot]: gone, ...others } = this.streams;
    this.streams = others;
  }
}

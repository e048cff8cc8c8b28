import { type Api, type Lecture, lecturePath } from '../lib/api.ts';
import { pause } from '../lib/backoff.ts';
import type { RoomEvent } from '../lib/events.ts';
import { type Problem, toProblem } from '../lib/problem.ts';
import { LecturePlayer, type PlayerState, type Span, follow } from '../lib/player.ts';
import { placeOf, prefs, rememberPlace } from './prefs.svelte.ts';

export type ReplayTab = 'all' | 'chat' | 'files' | 'hands';
/** An event with its place on the lecture's timeline. */
export type Replayed = RoomEvent & { t: number };

const GROWING_EVERY = 5000;
const KEEP_EVERY = 5000;
/** How a server says "not yet", and how soon it is asked again, ms. */
const YOUNG = [404, 409, 425, 503];
const YOUNG_EVERY = 1500;
/** Closer to the end than this counts as watched, seconds. */
const NEAR_END = 15;

/** One recording being watched: manifest, player, chat. Reactive; owned by the page. */
export class LectureModel {
  readonly id: string;
  readonly #api: Api;
  readonly #stop = new AbortController();
  #player: LecturePlayer | undefined;
  #second: LecturePlayer | undefined;
  #unfollow: (() => void) | undefined;
  #keptAt = 0;

  lecture = $state.raw<Lecture>();
  events = $state.raw<Replayed[]>([]);
  state = $state.raw<PlayerState>();
  problem = $state.raw<Problem>();
  /** The player is not there yet. */
  opening = $state(true);
  /** Where an earlier visit had stopped and this one begins, seconds; 0: at the start. */
  resumedAt = $state(0);
  tab = $state<ReplayTab>('all');
  following = $state(true);

  /** Slots that have a picture, main first. */
  readonly pictures: string[] = $derived.by(() => {
    const slots = (this.lecture?.tracks ?? [])
      .filter((track) => track.kind === 'video')
      .map((track) => track.stream);
    return [...new Set(slots)].sort((a, b) => Number(b === 'main') - Number(a === 'main'));
  });

  /** The slot that is played: main, or the only other there is. */
  readonly slot: string = $derived.by(() => {
    const slots = (this.lecture?.tracks ?? []).map((track) => track.stream);
    return slots.includes('main') ? 'main' : (slots[0] ?? 'main');
  });

  /** Stretches without picture or without sound, merged, in seconds. */
  readonly gaps: Span[] = $derived(mergeGaps(this.lecture));

  readonly shown: Replayed[] = $derived(
    this.events.filter(
      (event) =>
        this.tab === 'all' ||
        (this.tab === 'chat' && event.type === 'say') ||
        (this.tab === 'files' && event.type === 'file') ||
        (this.tab === 'hands' && event.type === 'hand'),
    ),
  );

  constructor(api: Api, id: string) {
    this.#api = api;
    this.id = id;
  }

  /** Loads manifest and chat; keeps both fresh while the lecture grows. */
  async start(): Promise<void> {
    const { signal } = this.#stop;
    await this.#load();
    const timer = setInterval(() => {
      if (this.lecture?.state === 'recording') void this.#load();
    }, GROWING_EVERY);
    signal.addEventListener('abort', () => clearInterval(timer));
  }

  /** Plays in media, from where the address or the last visit says. */
  async play(media: HTMLVideoElement, from: number | undefined): Promise<void> {
    try {
      const player = new LecturePlayer(media, { credential: this.#api.credential });
      this.#player = player;
      player.on('state', (state) => this.#changed(state));
      player.on('failed', (problem) => (this.problem = problem));
      const kept = placeOf(this.id);
      const length = (this.lecture?.duration_ms ?? 0) / 1000;
      const resume = from === undefined && kept > 0 && kept < length - NEAR_END ? kept : 0;
      player.rate = prefs.speed;
      player.volume = prefs.volume;
      await this.#loadWhenReady(player, this.slot, from ?? resume);
      this.resumedAt = resume;
      this.opening = false;
    } catch (err) {
      if (!this.#stop.signal.aborted) this.problem = toProblem(err);
    }
  }

  /** Plays a second picture in media, in step with the first. */
  async playSecond(media: HTMLVideoElement, master: HTMLVideoElement, slot: string): Promise<void> {
    try {
      media.muted = true;
      const player = new LecturePlayer(media, { credential: this.#api.credential });
      this.#second = player;
      await player.load(this.#manifest(slot), master.currentTime);
      this.#unfollow = follow(master, media);
    } catch {
      // The first picture goes on without it.
    }
  }

  async closeSecond(): Promise<void> {
    this.#unfollow?.();
    const second = this.#second;
    this.#second = undefined;
    await second?.close();
  }

  async toggle(): Promise<void> {
    await this.#player?.toggle();
  }

  seek(seconds: number): void {
    this.following = true;
    this.#player?.seek(seconds);
  }

  skip(seconds: number): void {
    if (this.state) this.seek(this.state.time + seconds);
  }

  set rate(rate: number) {
    if (this.#player) this.#player.rate = rate;
  }

  set volume(volume: number) {
    if (this.#player) this.#player.volume = volume;
  }

  set muted(muted: boolean) {
    if (this.#player) this.#player.muted = muted;
  }

  close(): void {
    if (this.#stop.signal.aborted) return;
    this.#keep(true);
    this.#stop.abort();
    void this.closeSecond();
    void this.#player?.close();
  }

  /** A recording that has just begun has nothing to play for a moment: asks again until it has. */
  async #loadWhenReady(player: LecturePlayer, slot: string, at: number): Promise<void> {
    for (;;) {
      try {
        await player.load(this.#manifest(slot), at);
        return;
      } catch (err) {
        const { status } = toProblem(err);
        if (this.lecture?.state !== 'recording' || !YOUNG.includes(status)) throw err;
        await pause(YOUNG_EVERY, this.#stop.signal);
      }
    }
  }

  #manifest(slot: string): string {
    // One manifest for each picture; the sound comes with that of the main stream.
    const query = slot === 'main' ? '' : `?slot=${encodeURIComponent(slot)}`;
    return `${lecturePath(this.id)}/dash.mpd${query}`;
  }

  async #load(): Promise<void> {
    const { signal } = this.#stop;
    try {
      const [lecture, events] = await Promise.all([
        this.#api.lecture(this.id, signal),
        this.#api.lectureEvents(this.id, signal),
      ]);
      this.lecture = lecture;
      this.events = events.filter(isReplayed);
    } catch (err) {
      if (!signal.aborted && !this.lecture) this.problem = toProblem(err);
    }
  }

  #changed(state: PlayerState): void {
    this.state = state;
    this.#keep(false);
  }

  #keep(now: boolean): void {
    const { state } = this;
    if (!state || state.duration === 0 || (!now && Date.now() - this.#keptAt < KEEP_EVERY)) return;
    this.#keptAt = Date.now();
    rememberPlace(this.id, state.time > state.duration - NEAR_END ? 0 : state.time);
  }
}

/** Events that a replay shows: what people said and did, not the connections. */
function isReplayed(event: RoomEvent): event is Replayed {
  if (event.t === undefined) return false;
  return event.type === 'say' || event.type === 'file' || (event.type === 'hand' && event.up);
}

/** The gaps of the main stream, in seconds, in order, without overlaps. */
export function mergeGaps(lecture: Lecture | undefined): Span[] {
  const spans = (lecture?.gaps ?? [])
    .filter((gap) => gap.stream === 'main' && gap.to_ms > gap.from_ms)
    .map((gap) => ({ from: gap.from_ms / 1000, to: gap.to_ms / 1000 }))
    .sort((a, b) => a.from - b.from);
  const merged: Span[] = [];
  for (const span of spans) {
    const last = merged.at(-1);
    if (last && span.from <= last.to) last.to = Math.max(last.to, span.to);
    else merged.push({ ...span });
  }
  return merged;
}

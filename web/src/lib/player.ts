import shaka from 'shaka-player/dist/shaka-player.dash-es2021.js';
import { Emitter } from './emitter.ts';
import { Problem, isAbort } from './problem.ts';

/** A stretch of the timeline, in seconds. */
export interface Span {
  from: number;
  to: number;
}

export interface PlayerState {
  /** Seconds on the lecture's timeline. */
  time: number;
  /** Seconds; grows while the lecture is being recorded. */
  duration: number;
  playing: boolean;
  /** Waiting for data. */
  waiting: boolean;
  ended: boolean;
  rate: number;
  volume: number;
  muted: boolean;
  /** Still being recorded. */
  growing: boolean;
  loaded: Span[];
}

export interface PlayerEvents {
  state: PlayerState;
  failed: Problem;
}

export interface PlayerOptions {
  /** Bearer of every request. */
  credential?: string;
}

const MEDIA_EVENTS = [
  'timeupdate',
  'play',
  'pause',
  'ended',
  'waiting',
  'playing',
  'seeking',
  'seeked',
  'ratechange',
  'volumechange',
  'progress',
  'durationchange',
  'resize',
  'loadeddata',
];

/** Speeds that the page offers. */
export const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2];

/** Plays a DASH manifest in a media element that belongs to the caller. */
export class LecturePlayer extends Emitter<PlayerEvents> {
  readonly #media: HTMLMediaElement;
  readonly #player: shaka.Player;
  readonly #stop = new AbortController();
  #loaded = false;

  constructor(media: HTMLMediaElement, options: PlayerOptions = {}) {
    super();
    shaka.polyfill.installAll();
    if (!shaka.Player.isBrowserSupported()) throw new Problem('playback_unsupported');
    this.#media = media;
    this.#player = new shaka.Player();
    this.#player.configure({
      streaming: {
        bufferingGoal: 30,
        bufferBehind: 30,
        rebufferingGoal: 0.5,
        // Part of the lecture may be missing in all tracks; do not wait at the hole.
        gapDetectionThreshold: 0.3,
        retryParameters: { maxAttempts: 8, baseDelay: 500, backoffFactor: 1.5, timeout: 20_000 },
      },
      manifest: { retryParameters: { maxAttempts: 3, baseDelay: 500, timeout: 20_000 } },
      // A lecture has one quality; nothing is to be switched for bandwidth.
      abr: { enabled: false },
    });
    const { credential } = options;
    if (credential) {
      this.#player.getNetworkingEngine()?.registerRequestFilter((_type, request) => {
        request.headers['Authorization'] = `Bearer ${credential}`;
      });
    }
    const { signal } = this.#stop;
    this.#player.addEventListener('error', (event) => this.#fail((event as CustomEvent).detail));
    for (const type of ['buffering', 'manifestupdated', 'trackschanged']) {
      this.#player.addEventListener(type, () => this.#changed());
    }
    for (const type of MEDIA_EVENTS) {
      media.addEventListener(type, () => this.#changed(), { signal });
    }
  }

  get state(): PlayerState {
    const media = this.#media;
    const range = this.#loaded ? this.#player.seekRange() : { start: 0, end: 0 };
    return {
      time: media.currentTime,
      duration: Math.max(range.end, 0),
      playing: !media.paused && !media.ended,
      waiting: this.#loaded && this.#player.isBuffering(),
      ended: media.ended,
      rate: media.playbackRate,
      volume: media.volume,
      muted: media.muted,
      growing: this.#loaded && this.#player.isLive(),
      loaded: spans(media.buffered),
    };
  }

  /** Loads a manifest and stands at startAt, in seconds. Rejects with a Problem. */
  async load(url: string, startAt = 0): Promise<void> {
    try {
      await this.#player.attach(this.#media);
      await this.#player.load(url, startAt);
      this.#loaded = true;
      this.#changed();
    } catch (err) {
      if (this.#stop.signal.aborted || isAbort(err)) return;
      throw problemOfShaka(err);
    }
  }

  async play(): Promise<void> {
    if (this.#media.ended) this.seek(0);
    // Chromium refuses sound before the first click on the page; the caller shows Play.
    await this.#media.play().catch(() => undefined);
  }

  pause(): void {
    this.#media.pause();
  }

  async toggle(): Promise<void> {
    if (this.#media.paused || this.#media.ended) await this.play();
    else this.pause();
  }

  /** Goes to a time in seconds, within what there is. */
  seek(seconds: number): void {
    if (!this.#loaded) return;
    const { start, end } = this.#player.seekRange();
    // The last instant of a complete lecture would end it.
    this.#media.currentTime = Math.min(Math.max(seconds, start), Math.max(start, end - 0.1));
    this.#changed();
  }

  set rate(rate: number) {
    this.#media.defaultPlaybackRate = rate;
    this.#media.playbackRate = rate;
  }

  set volume(volume: number) {
    this.#media.volume = Math.min(1, Math.max(0, volume));
    if (volume > 0) this.#media.muted = false;
  }

  set muted(muted: boolean) {
    this.#media.muted = muted;
  }

  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    this.#loaded = false;
    await this.#player.destroy();
  }

  #changed(): void {
    if (!this.#stop.signal.aborted) this.emit('state', this.state);
  }

  #fail(detail: unknown): void {
    this.emit('failed', problemOfShaka(detail));
  }
}

/** Keeps a second picture together with the first; returns the end of it. */
export function follow(master: HTMLMediaElement, slave: HTMLMediaElement): () => void {
  const step = () => {
    const { rate, jump } = correction(master.currentTime - slave.currentTime);
    if (jump && slave.readyState > 0) slave.currentTime = master.currentTime;
    slave.playbackRate = Math.max(0.1, master.playbackRate * rate);
    if (master.paused !== slave.paused) {
      if (master.paused) slave.pause();
      else void slave.play().catch(() => undefined);
    }
  };
  const timer = setInterval(step, 200);
  return () => clearInterval(timer);
}

/** How a follower that is behind by seconds catches up: by speed, or by a jump. */
export function correction(behind: number): { rate: number; jump: boolean } {
  const off = Math.abs(behind);
  if (off > 0.5) return { rate: 1, jump: true };
  if (off <= 0.015) return { rate: 1, jump: false };
  return { rate: 1 + Math.min(0.1, Math.max(-0.1, behind)), jump: false };
}

function spans(ranges: TimeRanges): Span[] {
  return Array.from({ length: ranges.length }, (_, i) => ({
    from: ranges.start(i),
    to: ranges.end(i),
  }));
}

function problemOfShaka(err: unknown): Problem {
  if (err instanceof Problem) return err;
  const { code, category, data } = (err ?? {}) as {
    code?: number;
    category?: number;
    data?: unknown[];
  };
  // 1001 is "bad HTTP status", with the status as its second datum.
  if (code === 1001) {
    const status = Number(data?.[1]) || 0;
    return new Problem(status === 404 ? 'not_found' : 'network', `status ${status}`, status);
  }
  if (category === 1) return new Problem('network', `shaka ${code}`);
  return new Problem('playback_failed', `shaka ${category}.${code}`);
}

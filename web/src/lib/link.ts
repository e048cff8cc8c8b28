import { Backoff, pause } from './backoff.ts';
import { Emitter } from './emitter.ts';
import { Problem, toProblem } from './problem.ts';
import { PeerSession, type SessionOptions } from './session.ts';

/**
 * Where a link is:
 * - connecting: the first session is being opened
 * - up: connected
 * - lost: was up; way back under way, see step
 * - failed: the server refused for good; start again by hand
 * - closed: ended by close()
 */
export type LinkPhase = 'connecting' | 'up' | 'lost' | 'failed' | 'closed';

/** How far the way back is. */
export type LinkStep = 'server' | 'path' | 'media';

export interface LinkState {
  phase: LinkPhase;
  step: LinkStep;
  /** Attempts since the link was last up. */
  attempt: number;
  /** When the link was lost, ms since the epoch; 0 when it is not. */
  since: number;
  problem?: Problem;
}

export interface LinkEvents {
  state: LinkState;
  /** A new session, before its offer: channels and tracks can be listened to. */
  session: PeerSession;
}

/** What tells a living session from a dead one. */
export interface Pulse {
  /** Bytes that came in so far. */
  bytes: number;
  /** Whether bytes must be coming in now. */
  expected: boolean;
  /** Whether a person sees it when nothing comes in. */
  visible: boolean;
}

export interface LinkOptions {
  session: () => SessionOptions;
  now?: () => number;
  openSession?: (options: SessionOptions) => PeerSession;
  backoff?: Backoff;
  /** Milliseconds without a byte after which the session is looked into. Default 3000. */
  stall?: number;
  /** Tell the server of a session that is given up for a new one. */
  tell?: boolean;
}

interface Watch {
  /** ICE says that the path is gone. */
  down: boolean;
  restarted: boolean;
  silence: Silence;
}

const POLL = 500;
const STALL = 3000;
/** A stalled but connected session is given up after this, in milliseconds. */
const GIVE_UP = 8000;
/** How long a found path may take to bring bytes, in milliseconds. */
const MEDIA_TIMEOUT = 4000;

/**
 * Keeps one session alive: notices its loss, tries an ICE restart first, then
 * opens new sessions with growing pauses, for as long as it is not closed.
 * Subclasses say what is sent and how life is told from death.
 */
export abstract class Link extends Emitter<LinkEvents> {
  readonly #options: LinkOptions;
  readonly #now: () => number;
  readonly #backoff: Backoff;
  #session: PeerSession | undefined;
  #state: LinkState = { phase: 'connecting', step: 'server', attempt: 0, since: 0 };
  #stop = new AbortController();
  #wake = new AbortController();
  #renew = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: LinkOptions) {
    super();
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#backoff = options.backoff ?? new Backoff();
  }

  get state(): LinkState {
    return this.#state;
  }

  /** The newest session, also while it is not connected. */
  get session(): PeerSession | undefined {
    return this.#session;
  }

  /** Begins; returns when the link has ended: closed, failed for good, or signal aborted. */
  start(signal?: AbortSignal): Promise<void> {
    signal?.addEventListener('abort', () => void this.close(), { signal: this.#stop.signal });
    if (signal?.aborted) void this.close();
    this.#running ??= this.#run(this.#stop.signal);
    return this.#running;
  }

  /** Skips the pause before the next attempt. */
  retryNow(): void {
    this.#wake.abort();
  }

  /** Replaces the session by a new one, e.g. because there is more to send. */
  renew(): void {
    this.#renew.abort();
  }

  /** Ends the link and its session. Idempotent. */
  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    this.#set({ phase: 'closed' });
    await this.#session?.close();
  }

  /** How alive session is. */
  protected abstract pulse(session: PeerSession): Promise<Pulse>;

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const session = await this.#open(signal);
        await this.#watch(session, signal);
      } catch (err) {
        if (signal.aborted) return;
        const problem = toProblem(err);
        await this.#session?.close(false);
        if (problem.final) {
          this.#set({ phase: 'failed', problem });
          return;
        }
        this.#lose(problem.code === 'network' ? 'server' : this.#state.step, problem);
        this.#wake = new AbortController();
        await pause(this.#backoff.next(problem.retryAfter), signal, this.#wake.signal).catch(
          () => undefined,
        );
      }
    }
  }

  async #open(signal: AbortSignal): Promise<PeerSession> {
    await this.#session?.close(false);
    const make = this.#options.openSession ?? ((options) => new PeerSession(options));
    const session = make(this.#options.session());
    this.#session = session;
    this.emit('session', session);
    this.#set({ attempt: this.#state.attempt + 1 });
    await session.open(signal);
    if (this.#state.phase === 'lost') this.#set({ step: 'media' });
    else this.#up();
    return session;
  }

  /** Returns when session is of no more use. */
  async #watch(session: PeerSession, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    this.#renew = over;
    const watch: Watch = { down: false, restarted: false, silence: new Silence(this.#now()) };
    const off = session.on('link', (link) => {
      if (link === 'lost') over.abort();
      else watch.down = link === 'down';
    });
    try {
      while (!over.signal.aborted && (await this.#check(session, watch, signal))) {
        await pause(POLL, signal, over.signal);
      }
    } finally {
      off();
    }
    this.#lose('server');
    await session.close(this.#options.tell ?? false);
  }

  /** Looks once whether session lives, and does what helps. False: a new one is needed. */
  async #check(session: PeerSession, watch: Watch, signal: AbortSignal): Promise<boolean> {
    const pulse = await this.pulse(session);
    const silence = watch.silence.note(pulse, this.#now());
    const silent = silence > (this.#options.stall ?? STALL);
    if (silence === 0 && session.connected && !watch.down) {
      watch.restarted = false;
      if (this.#state.phase === 'lost') this.#up();
    }
    if (!silent && !watch.down) return true;
    // What stands still must not look alive, whatever the cause turns out to be.
    if (pulse.visible && silent) this.#lose(this.#state.step);
    const probe = await session.probe(signal);
    if (probe === 'gone') return false;
    if (probe === 'unreachable') {
      // The network itself is away. The session may outlive that: wait here.
      this.#lose('server', new Problem('network'));
      await pause(this.#backoff.next(), signal, this.#newWake());
      this.#set({ attempt: this.#state.attempt + 1 });
      return session.pc.connectionState !== 'closed';
    }
    if (pulse.visible && silent) this.#set({ step: 'media', problem: undefined });
    if (!watch.down && silence < (watch.restarted ? MEDIA_TIMEOUT : GIVE_UP)) return true;
    return this.#restart(session, watch, signal);
  }

  async #restart(session: PeerSession, watch: Watch, signal: AbortSignal): Promise<boolean> {
    if (watch.restarted) return false;
    watch.restarted = true;
    watch.down = false;
    this.#lose('path');
    try {
      await session.restart(signal);
    } catch (err) {
      if (signal.aborted) throw err;
      return false;
    }
    watch.silence.begin(this.#now());
    this.#set({ step: 'media' });
    return true;
  }

  #newWake(): AbortSignal {
    this.#wake = new AbortController();
    return this.#wake.signal;
  }

  #up(): void {
    this.#backoff.reset();
    this.#set({ phase: 'up', step: 'media', attempt: 0, since: 0, problem: undefined });
  }

  #lose(step: LinkStep, problem?: Problem): void {
    if (this.#state.phase === 'connecting') {
      this.#set({ step, problem });
      return;
    }
    if (this.#state.phase === 'closed') return;
    const since = this.#state.phase === 'lost' ? this.#state.since : this.#now();
    this.#set({ phase: 'lost', step, since, problem });
  }

  #set(change: Partial<LinkState>): void {
    if (this.#state.phase === 'closed' && change.phase !== 'closed') return;
    this.#state = { ...this.#state, ...change };
    this.emit('state', this.#state);
  }
}

/** The endpoint of a slot: /whip/room, or /whip/room/slot for another than main. */
export function endpointOf(way: 'whip' | 'whep', room: string, slot: string): string {
  const path = `/${way}/${encodeURIComponent(room)}`;
  return slot === 'main' ? path : `${path}/${encodeURIComponent(slot)}`;
}

/** Measures for how long nothing came in that should have. */
class Silence {
  #bytes = -1;
  #since: number;

  constructor(now: number) {
    this.#since = now;
  }

  begin(now: number): void {
    this.#since = now;
  }

  /** Milliseconds of silence; 0 when something came in or nothing had to. */
  note(pulse: Pulse, now: number): number {
    const moved = pulse.bytes > Math.max(0, this.#bytes);
    this.#bytes = pulse.bytes;
    if (moved || !pulse.expected) {
      this.#since = now;
      return 0;
    }
    return Math.max(1, now - this.#since);
  }
}

import { Backoff, pause } from './backoff.ts';
import { Emitter } from './emitter.ts';
import { IceServers } from './iceservers.ts';
import { Network } from './network.ts';
import { Problem, toProblem } from './problem.ts';
import type { Probe } from './resource.ts';
import { PeerSession, type SessionOptions } from './session.ts';
import { Silence } from './silence.ts';
import { type Path, pathOf, reports } from './stats.ts';

/**
 * Where a link is:
 * - connecting: the first session is being opened
 * - up: connected
 * - lost: was up; way back under way, see step
 * - failed: refused for good, or ended on purpose; retryNow() begins again
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
  /** When the next attempt is made, ms since the epoch; 0 while one is under way. */
  retryAt: number;
  problem?: Problem;
}

/** The state of a link before anything has happened. */
export const beginning: LinkState = {
  phase: 'connecting',
  step: 'server',
  attempt: 0,
  since: 0,
  retryAt: 0,
};

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
  network?: Network;
}

interface Watch {
  /** ICE says that the path is gone. */
  down: boolean;
  /** The network is another one: the path is to be found anew, whatever it looks like. */
  urgent: boolean;
  restarted: boolean;
  silence: Silence;
  /** The server was asked in this silence, and has the session. */
  asked: boolean;
  /** Why there must be no new session. */
  end?: Problem;
}

const POLL = 500;
const STALL = 3000;
/**
 * After so long without a byte, expected or not, the server is asked once: one
 * that was killed and is back has forgotten the session, which ICE notices late.
 */
const DOUBT = 2000;
/** A stalled but connected session is restarted after this, in milliseconds. */
const GIVE_UP = 5000;
/** The same where nobody sees the silence: it may be one of a sender that is at rest. */
const GIVE_UP_UNSEEN = 8000;
/** How long a found path may take to bring bytes, in milliseconds. */
const MEDIA_TIMEOUT = 4000;
/** How long a server that restarts may be away, in milliseconds. */
const RESTARTS = 30_000;
/** A restart that takes longer than this is shown, in milliseconds. */
const UNNOTICED = 1500;

/**
 * Keeps one session alive: notices its loss, tries an ICE restart first, then
 * opens new sessions with growing pauses, for as long as it is not closed.
 * Subclasses say what is sent and how life is told from death.
 */
export abstract class Link extends Emitter<LinkEvents> {
  readonly #options: LinkOptions;
  readonly #now: () => number;
  readonly #backoff: Backoff;
  readonly #network: Network;
  #servers: IceServers | undefined;
  #session: PeerSession | undefined;
  #state: LinkState = beginning;
  #stop = new AbortController();
  #wake = new AbortController();
  #nudge = new AbortController();
  #renew = new AbortController();
  #watch: Watch | undefined;
  #running: Promise<void> | undefined;

  constructor(options: LinkOptions) {
    super();
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#backoff = options.backoff ?? new Backoff();
    this.#network = options.network ?? new Network();
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
    if (!this.#running) this.#follow();
    this.#running ??= this.#run(this.#stop.signal);
    return this.#running;
  }

  /** Skips the pause before the next attempt; begins again where the link had failed. */
  retryNow(): void {
    this.#wake.abort();
    if (this.#state.phase !== 'failed') return;
    this.#backoff.reset();
    this.#set(beginning);
    this.#running = this.#run(this.#stop.signal);
  }

  /** Which way the session takes; undefined while it is not connected or nobody knows. */
  async path(): Promise<Path | undefined> {
    const session = this.#session;
    return session?.connected ? pathOf(await reports(session.pc)) : undefined;
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

  /** Does at once what the network of this machine asks for. */
  #follow(): void {
    const { signal } = this.#stop;
    const again = () => {
      if (this.#watch) this.#watch.urgent = true;
      this.#nudge.abort();
      this.#wake.abort();
    };
    this.#network.listen(signal);
    this.#network.on('online', again, signal);
    this.#network.on('changed', again, signal);
    this.#network.on('offline', () => this.#nudge.abort(), signal);
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const session = await this.#open(signal);
        const end = await this.#keep(session, signal);
        if (end) throw end;
      } catch (err) {
        if (signal.aborted) return;
        const problem = toProblem(err);
        await this.#session?.close(problem.code === 'no_path' && (this.#options.tell ?? false));
        if (problem.final) {
          this.#set({ phase: 'failed', retryAt: 0, problem });
          return;
        }
        this.#lose(problem.code === 'no_path' ? 'path' : 'server', this.#worded(problem));
        await this.#rest(problem, signal);
      }
    }
  }

  async #open(signal: AbortSignal): Promise<PeerSession> {
    await this.#session?.close(false);
    const make = this.#options.openSession ?? ((options) => new PeerSession(options));
    const options = this.#options.session();
    const endpoint = options.endpoint.split('?')[0] ?? '';
    this.#servers ??= new IceServers({ ...options, endpoint });
    const session = make({ servers: this.#servers, ...options });
    this.#session = session;
    this.emit('session', session);
    this.#set({ attempt: this.#state.attempt + 1 });
    await session.open(signal);
    if (this.#state.phase === 'lost') this.#set({ step: 'media', problem: undefined });
    else this.#up();
    return session;
  }

  /** Returns when session is of no more use; with a Problem when there must be no other. */
  async #keep(session: PeerSession, signal: AbortSignal): Promise<Problem | undefined> {
    const over = new AbortController();
    let lost = false;
    this.#renew = over;
    const silence = new Silence(this.#now());
    const watch: Watch = { down: false, urgent: false, restarted: false, silence, asked: false };
    this.#watch = watch;
    const off = session.on('link', (link) => {
      if (link === 'lost') {
        lost = true;
        over.abort();
      } else {
        watch.down = link === 'down';
        this.#nudge.abort();
      }
    });
    try {
      while (!over.signal.aborted && (await this.#check(session, watch, signal))) {
        this.#nudge = new AbortController();
        if (watch.urgent) continue;
        await pause(POLL, signal, AbortSignal.any([over.signal, this.#nudge.signal]));
      }
    } finally {
      off();
      this.#watch = undefined;
    }
    this.#lose('server');
    // Who ended it decides whether there is to be another one.
    if (lost && !watch.end) this.#judge(await session.probe(signal), watch);
    await session.close(this.#options.tell ?? false);
    return watch.end;
  }

  /** Keeps the reason of an end: what is final as such, the rest for the words. */
  #judge({ problem }: Probe, watch: Watch): void {
    if (problem?.final) watch.end = problem;
    else if (problem) this.#lose('server', this.#worded(problem));
  }

  /** Looks once whether session lives, and does what helps. False: a new one is needed. */
  async #check(session: PeerSession, watch: Watch, signal: AbortSignal): Promise<boolean> {
    const pulse = await this.pulse(session);
    const { quiet, still, moved } = watch.silence.note(pulse, this.#now());
    if (moved) watch.asked = false;
    const silent = quiet > (this.#options.stall ?? STALL);
    // Browsers say offline too where the server is on the machine itself: bytes decide.
    const offline = !this.#network.online && !moved;
    if (quiet === 0 && session.connected && !watch.down && !offline) {
      watch.restarted = false;
      if (this.#state.phase === 'lost') this.#up();
    }
    if (watch.urgent) return this.#restart(session, watch, signal);
    if (!silent && !watch.down && !offline)
      return still <= DOUBT || watch.asked || this.#ask(session, watch, signal);
    // What stands still must not look alive, whatever the cause turns out to be.
    if (pulse.visible && silent) this.#lose(this.#state.step);
    const probe = await session.probe(signal);
    if (probe.state === 'gone') {
      this.#judge(probe, watch);
      return false;
    }
    if (probe.state === 'unreachable') {
      // The network itself is away. The session may outlive that: wait here.
      const problem = probe.problem ?? new Problem('network');
      this.#lose('server', this.#worded(problem));
      await this.#rest(problem, signal);
      return session.pc.connectionState !== 'closed';
    }
    if (pulse.visible && silent) this.#set({ step: 'media', problem: undefined });
    const patience = pulse.visible ? GIVE_UP : GIVE_UP_UNSEEN;
    if (!watch.down && quiet < (watch.restarted ? MEDIA_TIMEOUT : patience)) return true;
    return this.#restart(session, watch, signal);
  }

  /** Asks in a silence that may mean nothing. False: the server has no such session. */
  async #ask(session: PeerSession, watch: Watch, signal: AbortSignal): Promise<boolean> {
    const probe = await session.probe(signal);
    watch.asked = probe.state === 'alive';
    if (probe.state === 'gone') this.#judge(probe, watch);
    return probe.state !== 'gone';
  }

  /** Finds a new path for the session. False: that is of no use. */
  async #restart(session: PeerSession, watch: Watch, signal: AbortSignal): Promise<boolean> {
    if (watch.restarted && !watch.urgent) return false;
    const begun = { ...watch };
    watch.urgent = watch.down = false;
    watch.restarted = true;
    // While bytes still come in nothing is lost yet.
    const shown = begun.urgent ? setTimeout(() => this.#lose('path'), UNNOTICED) : undefined;
    if (!begun.urgent) this.#lose('path');
    try {
      await session.restart(signal).finally(() => clearTimeout(shown));
    } catch (err) {
      if (signal.aborted) throw err;
      const problem = toProblem(err);
      if (problem.status === 404) this.#judge(await session.probe(signal), watch);
      if (problem.code === 'no_path' || ![0, 429, 503].includes(problem.status)) return false;
      // The session may be as well as ever: only the request did not get through.
      this.#lose('server', this.#worded(problem));
      await this.#rest(problem, signal);
      Object.assign(watch, {
        down: begun.down || watch.down,
        urgent: begun.urgent || watch.urgent,
      });
      watch.restarted = begun.restarted;
      return session.pc.connectionState !== 'closed';
    }
    watch.silence.begin(this.#now());
    if (this.#state.phase === 'lost') this.#set({ step: 'media', problem: undefined });
    return true;
  }

  /** Waits for the next attempt: for its time, the person or the network. */
  async #rest(problem: Problem, signal: AbortSignal): Promise<void> {
    this.#wake = new AbortController();
    const wait = this.#backoff.next(problem.retryAfter);
    this.#set({ retryAt: this.#now() + wait });
    await pause(wait, signal, this.#wake.signal).catch(() => undefined);
    this.#set({ retryAt: 0, attempt: this.#state.attempt + (this.#watch ? 1 : 0) });
  }

  /** Why nobody answers, where that is known better than by the silence. */
  #worded(problem: Problem): Problem {
    if (problem.code !== 'network') return problem;
    if (!this.#network.online) return new Problem('offline', problem.message);
    const { problem: before, since } = this.#state;
    // A server that said it restarts does not answer for a while.
    const soon = this.#now() - since < RESTARTS;
    return before?.code === 'shutting_down' && soon ? before : problem;
  }

  #up(): void {
    this.#backoff.reset();
    this.#set({ phase: 'up', step: 'media', attempt: 0, since: 0, retryAt: 0, problem: undefined });
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

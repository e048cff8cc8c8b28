import { abortReason, pause } from './backoff.ts';
import { Emitter } from './emitter.ts';
import type { IceServers } from './iceservers.ts';
import { Problem, toProblem } from './problem.ts';
import { type Probe, Resource } from './resource.ts';
import { fragmentOf, withFragment } from './sdpfrag.ts';
import { Trickle } from './trickle.ts';

/** The version of the data channels that this page speaks. */
export const CHANNEL_PROTOCOL = 'lectern.v1';

/** How to open a PeerSession. */
export interface SessionOptions {
  /** URL of the WHIP or WHEP endpoint. */
  endpoint: string;
  /** Token or key, sent as Bearer; '': none. */
  credential: string;
  /** Ask the server to accept the session before there is anything to see (RFC 7240). */
  wait?: boolean;
  /** Make the chat and files channels. */
  channels?: boolean;
  /** Where to learn of STUN and TURN servers. */
  servers?: IceServers;
  /** Adds tracks or transceivers before the offer is made. */
  prepare: (pc: RTCPeerConnection) => void;
  /** Changes the answer before it is set. */
  tune?: (sdp: string) => string;
  /** Called when the answer is set, before anything flows. */
  answered?: (pc: RTCPeerConnection) => Promise<void>;
  /** Replaced in tests. */
  createPeer?: () => RTCPeerConnection;
  fetch?: typeof fetch;
}

export interface SessionEvents {
  /** A remote track. */
  track: MediaStreamTrack;
  /** ICE connectivity: down may come back by itself or by restart(), lost will not. */
  link: 'up' | 'down' | 'lost';
}

/** Time limits in milliseconds. */
const CONNECT_TIMEOUT = 12_000;
/** How often and after which pause a batch of candidates is sent again. */
const TRICKLE_TRIES = 4;
const TRICKLE_PAUSE = 1000;

/**
 * One WHIP or WHEP session (RFC 9725; draft-ietf-wish-whep): a peer connection
 * and its HTTP resource. It is opened once and never comes back after close or
 * 'lost'; Link makes a new one.
 */
export class PeerSession extends Emitter<SessionEvents> {
  readonly pc: RTCPeerConnection;
  readonly chat?: RTCDataChannel;
  readonly files?: RTCDataChannel;
  readonly #options: SessionOptions;
  readonly #closed = new AbortController();
  readonly resource: Resource;
  readonly #trickle: Trickle;
  #lost = false;

  constructor(options: SessionOptions) {
    super();
    this.#options = options;
    this.resource = new Resource({
      endpoint: options.endpoint,
      credential: options.credential,
      closed: this.#closed.signal,
      fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    });
    this.pc = options.createPeer?.() ?? new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.#trickle = new Trickle(this.pc, (fragment) => this.#tell(fragment), this.#closed.signal);
    options.prepare(this.pc);
    if (options.channels) {
      // Made before the offer, so that the offer has a data section.
      this.chat = this.pc.createDataChannel('chat', { protocol: CHANNEL_PROTOCOL });
      this.files = this.pc.createDataChannel('files', { protocol: CHANNEL_PROTOCOL });
      this.files.binaryType = 'arraybuffer';
    }
    this.#listen();
  }

  /** Whether media and data can flow now. */
  get connected(): boolean {
    return this.pc.connectionState === 'connected';
  }

  /** The address of the session; '' before there is one. */
  get address(): string {
    return this.resource.url;
  }

  /** Aborts when the session is closed. */
  get ended(): AbortSignal {
    return this.#closed.signal;
  }

  /** Offers, posts and waits until the connection stands. Rejects with a Problem. */
  async open(signal: AbortSignal): Promise<void> {
    const offer = await this.#offer({}, signal);
    const wait = this.#options.wait ?? false;
    const { answer, links } = await this.resource.create(offer, wait, signal);
    this.#options.servers?.note(links);
    this.#trickle.follow(offer);
    const sdp = this.#options.tune?.(answer) ?? answer;
    await this.pc.setRemoteDescription({ type: 'answer', sdp });
    await this.#options.answered?.(this.pc);
    await this.#connected(signal);
  }

  /**
   * Finds a new path for the same session. Rejects when the server has no such
   * session any more (Problem with status 404) or does not answer.
   */
  async restart(signal: AbortSignal): Promise<void> {
    const answer = this.pc.remoteDescription?.sdp;
    if (!this.address || !answer) throw new Problem('gone', 'no session', 404);
    if (this.pc.signalingState !== 'stable')
      await this.pc.setLocalDescription({ type: 'rollback' });
    const offer = await this.#offer({ iceRestart: true }, signal);
    const fragment = await this.resource.restart(fragmentOf(offer), signal);
    this.#trickle.follow(offer);
    await this.pc.setRemoteDescription({ type: 'answer', sdp: withFragment(answer, fragment) });
    await this.#connected(signal);
  }

  /** Asks the server whether it still has the session. */
  probe(signal: AbortSignal): Promise<Probe> {
    return this.resource.probe(signal);
  }

  /** Ends the session; tells the server if tell is set. Idempotent, never rejects. */
  async close(tell = true): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    this.pc.close();
    if (tell) await this.resource.remove();
  }

  /** Makes and sets a local description; returns it with the candidates that come at once. */
  async #offer(options: RTCOfferOptions, signal: AbortSignal): Promise<string> {
    // What takes its time goes side by side; candidates are sought only after both.
    const [offer] = await Promise.all([this.pc.createOffer(options), this.#useServers()]);
    if (signal.aborted) throw abortReason(signal);
    this.#trickle.begin();
    await this.pc.setLocalDescription(offer);
    await this.#trickle.ready(signal);
    return this.pc.localDescription?.sdp ?? '';
  }

  async #useServers(): Promise<void> {
    const iceServers = await this.#options.servers?.get();
    if (!iceServers?.length || this.#closed.signal.aborted) return;
    try {
      this.pc.setConfiguration({ bundlePolicy: 'max-bundle', iceServers });
    } catch {
      // One that this browser does not take: the direct ways remain.
    }
  }

  /** Sends candidates that were found late. What cannot be sent is let go: it is a help, not a need. */
  async #tell(fragment: string): Promise<void> {
    const { signal } = this.#closed;
    for (let tries = 1; !signal.aborted; tries++) {
      try {
        await this.resource.trickle(fragment, signal);
        return;
      } catch (err) {
        if (signal.aborted) return;
        const { status, retryAfter } = toProblem(err);
        if (status === 404) this.#lose();
        const passing = status === 0 || status === 429 || status >= 500;
        if (!passing || tries === TRICKLE_TRIES) return;
        await pause(Math.max(retryAfter, TRICKLE_PAUSE * tries), signal).catch(() => undefined);
      }
    }
  }

  #listen(): void {
    const once = { signal: this.#closed.signal };
    this.pc.addEventListener('track', (event) => this.emit('track', event.track), once);
    this.pc.addEventListener(
      'iceconnectionstatechange',
      () => {
        const state = this.pc.iceConnectionState;
        if (state === 'connected' || state === 'completed') this.emit('link', 'up');
        if (state === 'disconnected' || state === 'failed') this.emit('link', 'down');
        if (state === 'closed') this.#lose();
      },
      once,
    );
    this.pc.addEventListener(
      'connectionstatechange',
      () => {
        if (this.pc.connectionState === 'closed') this.#lose();
      },
      once,
    );
    // The end of DTLS shows in the channels at once, in the connection's state only later.
    for (const channel of [this.chat, this.files]) {
      channel?.addEventListener('close', () => this.#lose(), once);
    }
  }

  #lose(): void {
    if (this.#lost || this.#closed.signal.aborted) return;
    this.#lost = true;
    this.emit('link', 'lost');
  }

  /** Resolves when the connection stands. */
  #connected(signal: AbortSignal): Promise<void> {
    const pc = this.pc;
    return new Promise((resolve, reject) => {
      const stop = new AbortController();
      const finish = (err?: Error) => {
        stop.abort();
        clearTimeout(timer);
        if (err) reject(err);
        else resolve();
      };
      const noPath = () => finish(new Problem('no_path', 'no path to the server'));
      const timer = setTimeout(noPath, CONNECT_TIMEOUT);
      const look = (event?: Event) => {
        const ice = pc.iceConnectionState;
        const path = ice === 'connected' || ice === 'completed';
        if (path && pc.connectionState === 'connected') finish();
        else if (pc.connectionState === 'closed') noPath();
        // A restart begins with the failure of before.
        else if (event && pc.connectionState === 'failed') noPath();
      };
      const aborted = () => finish(abortReason(signal));
      signal.addEventListener('abort', aborted, { signal: stop.signal });
      pc.addEventListener('connectionstatechange', look, { signal: stop.signal });
      pc.addEventListener('iceconnectionstatechange', look, { signal: stop.signal });
      if (signal.aborted) aborted();
      else look();
    });
  }
}

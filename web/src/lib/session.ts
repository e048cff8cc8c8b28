import { abortReason } from './backoff.ts';
import { Emitter } from './emitter.ts';
import { Problem, problemOf, toProblem } from './problem.ts';
import { FRAGMENT_TYPE, fragmentOf, withFragment } from './sdpfrag.ts';

/** The version of the data channels that this page speaks. */
export const CHANNEL_PROTOCOL = 'lectern.v1';

/** How to open a PeerSession. */
export interface SessionOptions {
  /** URL of the WHIP or WHEP endpoint. */
  endpoint: string;
  /** Token or key, sent as Bearer. */
  credential: string;
  /** Ask the server to accept the session before there is anything to see (RFC 7240). */
  wait?: boolean;
  /** Make the chat and files channels. */
  channels?: boolean;
  /** Adds tracks or transceivers before the offer is made. */
  prepare: (pc: RTCPeerConnection) => void;
  /** Changes the answer before it is set. */
  tune?: (sdp: string) => string;
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

/** What the server knows about a session. */
export type Probe = 'alive' | 'gone' | 'unreachable';

/** Time limits in milliseconds. */
const CONNECT_TIMEOUT = 12_000;
const GATHER_TIMEOUT = 1000;
const REQUEST_TIMEOUT = 8000;
/** Short: until it is answered nobody knows whether what is shown is true. */
const PROBE_TIMEOUT = 2500;

interface RequestOptions {
  signal: AbortSignal;
  headers?: Record<string, string>;
  body?: string;
  /** Milliseconds. */
  timeout?: number;
}

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
  readonly #fetch: typeof fetch;
  readonly #closed = new AbortController();
  #resource = '';
  #lost = false;

  constructor(options: SessionOptions) {
    super();
    this.#options = options;
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
    this.pc = options.createPeer?.() ?? new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
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

  /** Offers, posts and waits until the connection stands. Rejects with a Problem. */
  async open(signal: AbortSignal): Promise<void> {
    await this.pc.setLocalDescription();
    // All candidates are those of this machine, found within milliseconds: an
    // offer that has them spares the trickling, and helps a server that must
    // find its way to us.
    await this.#gathered(signal);
    const offer = this.pc.localDescription?.sdp ?? '';
    const headers: Record<string, string> = { 'Content-Type': 'application/sdp' };
    if (this.#options.wait) headers['Prefer'] = 'wait';
    const response = await this.#request('POST', this.#options.endpoint, {
      signal,
      headers,
      body: offer,
    });
    if (response.status !== 201) throw await problemOf(response);
    const location = response.headers.get('Location');
    if (!location) throw new Problem('bad_answer', 'the server named no session', response.status);
    const base = response.url || new URL(this.#options.endpoint, globalThis.location?.href).href;
    this.#resource = new URL(location, base).href;
    const answer = await response.text();
    const sdp = this.#options.tune?.(answer) ?? answer;
    await this.pc.setRemoteDescription({ type: 'answer', sdp });
    await this.#connected(signal);
  }

  /**
   * Finds a new path for the same session. Rejects when the server has no such
   * session any more (Problem with status 404) or does not answer.
   */
  async restart(signal: AbortSignal): Promise<void> {
    const answer = this.pc.remoteDescription?.sdp;
    if (!this.#resource || !answer) throw new Problem('gone', 'no session', 404);
    if (this.pc.signalingState !== 'stable')
      await this.pc.setLocalDescription({ type: 'rollback' });
    await this.pc.setLocalDescription(await this.pc.createOffer({ iceRestart: true }));
    await this.#gathered(signal);
    const response = await this.#request('PATCH', this.#resource, {
      signal,
      headers: { 'Content-Type': FRAGMENT_TYPE, 'If-Match': '*' },
      body: fragmentOf(this.pc.localDescription?.sdp ?? ''),
    });
    if (response.status !== 200) throw await problemOf(response);
    await this.pc.setRemoteDescription({
      type: 'answer',
      sdp: withFragment(answer, await response.text()),
    });
    await this.#connected(signal);
  }

  /** Asks the server whether it still has the session. */
  async probe(signal: AbortSignal): Promise<Probe> {
    if (!this.#resource) return 'gone';
    try {
      const response = await this.#request('GET', this.#resource, {
        signal,
        timeout: PROBE_TIMEOUT,
      });
      if (response.status === 404 || response.status === 410) return 'gone';
      return response.status < 500 ? 'alive' : 'unreachable';
    } catch (err) {
      if (signal.aborted) throw err;
      return 'unreachable';
    }
  }

  /** Ends the session; tells the server if tell is set. Idempotent, never rejects. */
  async close(tell = true): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    this.pc.close();
    if (!tell || !this.#resource) return;
    try {
      // keepalive: also when the page is being left.
      await this.#fetch(this.#resource, {
        method: 'DELETE',
        headers: { Authorization: `Bearer ${this.#options.credential}` },
        keepalive: true,
      });
    } catch {
      // The server finds out by itself: consent ends (RFC 7675).
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

  async #request(method: string, url: string, options: RequestOptions): Promise<Response> {
    const { signal, headers, body, timeout } = options;
    const limit = AbortSignal.timeout(timeout ?? REQUEST_TIMEOUT);
    try {
      return await this.#fetch(url, {
        method,
        headers: { ...headers, Authorization: `Bearer ${this.#options.credential}` },
        body: body ?? null,
        cache: 'no-store',
        signal: AbortSignal.any([signal, this.#closed.signal, limit]),
      });
    } catch (err) {
      if (signal.aborted) throw abortReason(signal);
      throw limit.aborted ? new Problem('network', 'no answer in time') : toProblem(err);
    }
  }

  /** Resolves when the connection stands. */
  #connected(signal: AbortSignal): Promise<void> {
    const pc = this.pc;
    return settle(signal, CONNECT_TIMEOUT, (done, stop) => {
      const look = () => {
        const ice = pc.iceConnectionState;
        const path = ice === 'connected' || ice === 'completed';
        if (path && pc.connectionState === 'connected') done();
        else if (pc.connectionState === 'closed' || pc.connectionState === 'failed') {
          done(new Problem('no_path', 'no path to the server'));
        }
      };
      pc.addEventListener('connectionstatechange', look, { signal: stop });
      pc.addEventListener('iceconnectionstatechange', look, { signal: stop });
      look();
    }).catch((err: unknown) => {
      throw err instanceof TimeoutError ? new Problem('no_path', 'no path to the server') : err;
    });
  }

  /** Resolves when all candidates are known, or after a second with what there is. */
  #gathered(signal: AbortSignal): Promise<void> {
    const pc = this.pc;
    return settle(signal, GATHER_TIMEOUT, (done, stop) => {
      const look = () => {
        if (pc.iceGatheringState === 'complete') done();
      };
      pc.addEventListener('icegatheringstatechange', look, { signal: stop });
      look();
    }).catch((err: unknown) => {
      if (!(err instanceof TimeoutError)) throw err;
    });
  }
}

class TimeoutError extends Error {}

/** Runs start until it calls done, the time is over or signal aborts. */
function settle(
  signal: AbortSignal,
  ms: number,
  start: (done: (err?: Error) => void, stop: AbortSignal) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = new AbortController();
    const finish = (err?: Error) => {
      if (stop.signal.aborted) return;
      stop.abort();
      clearTimeout(timer);
      if (err) reject(err);
      else resolve();
    };
    const timer = setTimeout(() => finish(new TimeoutError('timed out')), ms);
    signal.addEventListener('abort', () => finish(abortReason(signal)), { signal: stop.signal });
    if (signal.aborted) finish(abortReason(signal));
    else start(finish, stop.signal);
  });
}

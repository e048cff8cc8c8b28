import { abortReason } from './backoff.ts';
import { trickleOf } from './sdpfrag.ts';

/** Candidates of the machine itself come one right after the other: a pause this long ends them, ms. */
const IDLE = 60;
/** A description with at least one candidate waits no longer than this for more, ms. */
const ENOUGH = 250;
/** One without any waits this long, ms: names of addresses may take time to be made. */
const PATIENCE = 1000;
/** What comes within this time goes out together, ms. */
const BATCH = 150;

/**
 * The candidates of a peer connection: says when a description has enough of
 * them to be sent, and sends those that are found later (RFC 8840). A TURN
 * server that does not answer so delays nothing.
 */
export class Trickle {
  readonly #pc: RTCPeerConnection;
  readonly #send: (fragment: string) => Promise<void>;
  readonly #closed: AbortSignal;
  /** Those that were found after the description was sent and are not sent yet. */
  #late: string[] = [];
  /** The description that was sent; '': none yet. */
  #sent = '';
  #found: (() => void) | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sending = false;

  /** send must not reject. closed ends everything. */
  constructor(
    pc: RTCPeerConnection,
    send: (fragment: string) => Promise<void>,
    closed: AbortSignal,
  ) {
    this.#pc = pc;
    this.#send = send;
    this.#closed = closed;
    pc.addEventListener('icecandidate', (event) => this.#take(event.candidate), {
      signal: closed,
    });
    closed.addEventListener('abort', () => this.begin(), { once: true });
  }

  /** Forgets the candidates of before: a new description is about to be made. */
  begin(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sent = '';
    this.#late = [];
  }

  /**
   * Resolves when the local description is worth sending: all candidates are
   * known, or no more have come for a moment. Rejects when signal aborts.
   */
  ready(signal: AbortSignal): Promise<void> {
    const pc = this.#pc;
    return new Promise((resolve, reject) => {
      const stop = new AbortController();
      const has = () => /^a=candidate:/m.test(pc.localDescription?.sdp ?? '');
      const finish = (settle: () => void) => {
        stop.abort();
        clearTimeout(idle);
        for (const timer of timers) clearTimeout(timer);
        this.#found = undefined;
        settle();
      };
      const done = () => finish(resolve);
      let idle: ReturnType<typeof setTimeout> | undefined;
      const timers = [setTimeout(() => has() && done(), ENOUGH), setTimeout(done, PATIENCE)];
      const began = Date.now();
      this.#found = () => {
        clearTimeout(idle);
        const left = Math.max(0, ENOUGH - (Date.now() - began));
        idle = setTimeout(done, Math.min(IDLE, left));
      };
      const look = () => pc.iceGatheringState === 'complete' && done();
      const aborted = () => finish(() => reject(abortReason(signal)));
      pc.addEventListener('icegatheringstatechange', look, { signal: stop.signal });
      signal.addEventListener('abort', aborted, { signal: stop.signal });
      if (signal.aborted) aborted();
      else if (!look() && has()) this.#found();
    });
  }

  /** From now on sends what is found and is not in sdp, the description that was sent. */
  follow(sdp: string): void {
    this.#sent = sdp;
    this.#late = this.#late.filter((candidate) => !this.#said(candidate));
    this.#schedule();
  }

  #take(candidate: RTCIceCandidate | null): void {
    // An empty one says that there will be no more of one address.
    if (!candidate?.candidate || this.#closed.aborted) return;
    // One of the description before, found while the next is being made.
    const ufrag = candidate.usernameFragment;
    if (ufrag && !this.#pc.localDescription?.sdp.includes(`a=ice-ufrag:${ufrag}`)) return;
    const line = candidate.candidate.replace(/^a=/, '');
    this.#found?.();
    if (this.#said(line)) return;
    this.#late.push(line);
    if (this.#sent) this.#schedule();
  }

  /** Whether the description that was sent has the candidate; browsers write its extensions in two ways. */
  #said(candidate: string): boolean {
    return this.#sent.includes(candidate.split(' ', 8).join(' '));
  }

  #schedule(): void {
    if (this.#late.length === 0 || this.#timer !== undefined || this.#sending) return;
    this.#timer = setTimeout(() => void this.#flush(), BATCH);
  }

  async #flush(): Promise<void> {
    this.#timer = undefined;
    const candidates = this.#late;
    this.#late = [];
    const sdp = this.#pc.localDescription?.sdp;
    if (!sdp || candidates.length === 0) return;
    const last = this.#pc.iceGatheringState === 'complete';
    this.#sending = true;
    await this.#send(trickleOf(sdp, candidates, last));
    this.#sending = false;
    if (!this.#closed.aborted) this.#schedule();
  }
}

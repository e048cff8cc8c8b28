import { Emitter } from './emitter.ts';
import { type Person, type RoomEvent, isRoomEvent } from './events.ts';
import { Problem } from './problem.ts';
import { randomId } from './random.ts';
import { Roster } from './roster.ts';

/** The part of RTCDataChannel that is used; tests bring their own. */
export interface Wire {
  readonly readyState: string;
  readonly bufferedAmount: number;
  bufferedAmountLowThreshold: number;
  send(data: string): void;
  send(data: ArrayBuffer): void;
  addEventListener(
    type: string,
    listener: (event: { data?: unknown }) => void,
    options?: { signal?: AbortSignal },
  ): void;
}

/** What the server said of itself and of us at the beginning. */
export interface Welcome {
  you: Person;
  limits: Limits;
}

export interface Limits {
  /** Bytes of one message. */
  textBytes: number;
  /** Bytes of one file. */
  fileBytes: number;
}

/** Something said that has not come back as an event yet. */
export interface Pending {
  ref: string;
  text: string;
  /** Set when the server refused it. */
  problem?: Problem;
}

export interface ChatEvents {
  /** Connected and up to date from here on. */
  welcome: Welcome;
  /** An event, each once, in order. */
  event: RoomEvent;
  /** The past between two sequence numbers is longer than the channel sends. */
  truncated: { since: number; from: number };
  roster: Roster;
  pending: Pending[];
  /** The channel is up or away. */
  online: boolean;
  /** The server's log is another one: everything seen before is void. */
  reset: undefined;
}

export interface ChatOptions {
  name: string;
  lang: string;
  /** A secret of this browser, 16 to 128 bytes: tells apart those who share an invitation. */
  key?: string;
  /** Makes references that are never used twice. */
  newRef?: () => string;
}

const DEFAULT_LIMITS: Limits = { textBytes: 16 << 10, fileBytes: 256 << 20 };

interface Request {
  ref: string;
  body: Record<string, unknown>;
  text?: string;
  /** Done by the server as this event, which has not come yet. */
  seq?: number;
  settle: (problem?: Problem) => void;
}

/**
 * One person's side of the room, over any number of channels, one at a time.
 * What is asked while there is no channel waits; what was asked before a loss
 * is asked again with the same reference, so that it happens once.
 */
export class Chat extends Emitter<ChatEvents> {
  readonly roster = new Roster();
  readonly #options: ChatOptions;
  readonly #requests = new Map<string, Request>();
  #wire: Wire | undefined;
  #detach = new AbortController();
  #welcomed = false;
  #seq = 0;
  #you: Person | undefined;
  #limits = DEFAULT_LIMITS;
  #refused: Pending[] = [];

  constructor(options: ChatOptions) {
    super();
    this.#options = { ...options };
  }

  /** The last event seen; 0 before the first. */
  get seq(): number {
    return this.#seq;
  }

  get you(): Person | undefined {
    return this.#you;
  }

  get limits(): Limits {
    return this.#limits;
  }

  get online(): boolean {
    return this.#welcomed;
  }

  /** What is on its way, oldest first, and what was refused. */
  get pending(): Pending[] {
    const waiting = [...this.#requests.values()].flatMap(({ ref, text }) =>
      text === undefined ? [] : [{ ref, text }],
    );
    return [...this.#refused, ...waiting];
  }

  /** Speaks over wire from now on; the one before is let go. */
  attach(wire: Wire): void {
    this.#detach.abort();
    this.#detach = new AbortController();
    const { signal } = this.#detach;
    this.#wire = wire;
    this.#setOnline(false);
    wire.addEventListener('message', (event) => this.#receive(event.data), { signal });
    wire.addEventListener('close', () => this.#setOnline(false), { signal });
    if (wire.readyState === 'open') this.#hello();
    else wire.addEventListener('open', () => this.#hello(), { signal });
  }

  /** Lets the channel go. What is pending stays for the next attach. */
  detach(): void {
    this.#detach.abort();
    this.#wire = undefined;
    this.#setOnline(false);
  }

  /** Says text to the room; resolves when it is there. Rejects with a Problem. */
  say(text: string): Promise<void> {
    return this.#request({ type: 'say', text }, text);
  }

  /** Raises or lowers the own hand, or lowers that of another. */
  hand(up: boolean, who?: string): Promise<void> {
    return this.#request(who ? { type: 'hand', up, who } : { type: 'hand', up });
  }

  /** Changes the own name, now and in later connections. */
  rename(name: string): void {
    this.#options.name = name;
    // A second hello joins anew, with the new name.
    if (this.#welcomed) this.#hello();
  }

  /** Takes a refused message away. */
  dismiss(ref: string): void {
    this.#refused = this.#refused.filter((pending) => pending.ref !== ref);
    this.emit('pending', this.pending);
  }

  #hello(): void {
    const { name, lang, key } = this.#options;
    this.#send({ type: 'hello', since: this.#seq, name, lang, key });
  }

  #request(body: Record<string, unknown>, text?: string): Promise<void> {
    const ref = this.#options.newRef?.() ?? randomId();
    return new Promise((resolve, reject) => {
      const settle = (problem?: Problem) => {
        this.#requests.delete(ref);
        if (problem && text !== undefined) this.#refused.push({ ref, text, problem });
        if (text !== undefined) this.emit('pending', this.pending);
        if (problem) reject(problem);
        else resolve();
      };
      const request: Request = { ref, body: { ...body, ref }, text, settle };
      this.#requests.set(ref, request);
      if (text !== undefined) this.emit('pending', this.pending);
      if (this.#welcomed) this.#send(request.body);
    });
  }

  #send(body: Record<string, unknown>): void {
    if (this.#wire?.readyState !== 'open') return;
    try {
      this.#wire.send(JSON.stringify(body));
    } catch {
      // Closing: the close event follows, and what is pending is asked again.
    }
  }

  #receive(data: unknown): void {
    if (typeof data !== 'string') return;
    let message: unknown;
    try {
      message = JSON.parse(data);
    } catch {
      return; // Not ours: ignored, as are unknown types.
    }
    if (isRoomEvent(message)) this.#event(message);
    else if (typeof message === 'object' && message !== null) {
      this.#control(message as Record<string, unknown>);
    }
  }

  #control(message: Record<string, unknown>): void {
    const ref = typeof message['ref'] === 'string' ? message['ref'] : '';
    switch (message['type']) {
      case 'welcome':
        this.#welcome(message);
        break;
      case 'ok':
        this.#done(ref, Number(message['seq']) || 0);
        break;
      case 'error':
        this.#failed(ref, message);
        break;
      case 'lagging':
        // We were too slow and events were dropped: join anew from what we have.
        this.#hello();
        break;
      case 'truncated':
        this.emit('truncated', { since: this.#seq, from: Number(message['from']) || 0 });
        break;
    }
  }

  #welcome(message: Record<string, unknown>): void {
    this.#you = message['you'] as Person | undefined;
    const newest = Number(message['seq']) || 0;
    if (newest < this.#seq) {
      this.#seq = 0;
      this.emit('reset', undefined);
    }
    const limits = (message['limits'] ?? {}) as Record<string, unknown>;
    this.#limits = {
      textBytes: Number(limits['text_bytes']) || DEFAULT_LIMITS.textBytes,
      fileBytes: Number(limits['file_bytes']) || DEFAULT_LIMITS.fileBytes,
    };
    const people = Array.isArray(message['people']) ? (message['people'] as Person[]) : [];
    this.roster.reset(people, Number(message['total']) || people.length);
    this.emit('roster', this.roster);
    this.#setOnline(true);
    if (this.#you) this.emit('welcome', { you: this.#you, limits: this.#limits });
    // In the order in which they were asked; the server knows those it has done.
    for (const request of this.#requests.values()) this.#send(request.body);
  }

  /** A request stays pending until its event is here, so that nothing said flickers. */
  #done(ref: string, seq: number): void {
    const request = this.#requests.get(ref);
    if (!request) return;
    if (seq <= this.#seq) request.settle();
    else request.seq = seq;
  }

  #failed(ref: string, message: Record<string, unknown>): void {
    const request = this.#requests.get(ref);
    if (!request) return;
    const code = typeof message['code'] === 'string' ? message['code'] : 'unexpected';
    const wait = Number(message['retry_after_ms']) || 0;
    if (code === 'rate_limited') {
      setTimeout(() => {
        if (this.#requests.has(ref) && this.#welcomed) this.#send(request.body);
      }, wait || 1000);
      return;
    }
    const text = typeof message['message'] === 'string' ? message['message'] : code;
    request.settle(new Problem(code, text, 0, wait));
  }

  #event(event: RoomEvent): void {
    // Roster changes may ride outside the numbering; everything else comes once.
    if (event.seq > 0) {
      if (event.seq <= this.#seq) return;
      this.#seq = event.seq;
    }
    if (this.roster.apply(event)) this.emit('roster', this.roster);
    this.emit('event', event);
    for (const request of [...this.#requests.values()]) {
      if (request.seq && request.seq <= this.#seq) request.settle();
    }
  }

  #setOnline(online: boolean): void {
    if (this.#welcomed === online) return;
    this.#welcomed = online;
    this.emit('online', online);
  }
}

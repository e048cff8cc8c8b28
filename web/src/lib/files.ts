import type { Wire } from './chat.ts';
import { digest } from './digest.ts';
import { Emitter } from './emitter.ts';
import { Problem, isAbort, toProblem } from './problem.ts';
import { randomId } from './random.ts';

/** One file on its way to the room. */
export interface Upload {
  id: string;
  name: string;
  /** Bytes. */
  size: number;
  /** Bytes that the server has. */
  sent: number;
  /** hashing: reading the file; waiting: no channel; sending; stored; failed. */
  state: 'hashing' | 'waiting' | 'sending' | 'stored' | 'failed';
  problem?: Problem;
}

export interface FileEvents {
  uploads: Upload[];
}

export interface FilesOptions {
  newId?: () => string;
  /** Bytes of a file at most; asked when a file is added. */
  limit?: () => number;
  digest?: typeof digest;
}

/** Bytes of data in one message; the server takes 16 to 64 KiB. */
const CHUNK = 32 << 10;
/** Transfer number and offset, each an unsigned 32-bit integer in network order. */
const HEADER = 8;
const WINDOW = 1 << 20;
/** Files under way at once; the server takes four. The others wait their turn. */
const OPEN_AT_ONCE = 3;
const BUFFER_HIGH = 1 << 20;
const BUFFER_LOW = 256 << 10;

/** Refusals that pass by themselves: the upload goes on a moment later. */
const passing = new Set(['busy', 'timeout', 'rate_limited', 'internal']);

interface Job {
  upload: Upload;
  file: Blob & { name: string };
  sha256: string;
  /** put was sent over the present channel. */
  asked: boolean;
  transfer: number;
  /** The next byte to send, and the first that may not be sent yet. */
  next: number;
  window: number;
  acked: number;
  stop: AbortController;
  settle: { resolve: () => void; reject: (problem: Problem) => void };
}

/**
 * Sends files to the room over the files channel, one after the other, and goes
 * on where it was after a reconnect.
 */
export class Files extends Emitter<FileEvents> {
  readonly #options: FilesOptions;
  readonly #jobs = new Map<string, Job>();
  #wire: Wire | undefined;
  #detach = new AbortController();
  #pumping = false;

  constructor(options: FilesOptions = {}) {
    super();
    this.#options = options;
  }

  get uploads(): Upload[] {
    return [...this.#jobs.values()].map((job) => ({ ...job.upload }));
  }

  /** Sends over wire from now on; what was under way is resumed. */
  attach(wire: Wire): void {
    this.#detach.abort();
    this.#detach = new AbortController();
    const { signal } = this.#detach;
    this.#wire = wire;
    wire.bufferedAmountLowThreshold = BUFFER_LOW;
    wire.addEventListener('message', (event) => this.#receive(event.data), { signal });
    wire.addEventListener('bufferedamountlow', () => void this.#pump(), { signal });
    wire.addEventListener('close', () => this.#pauseAll(), { signal });
    this.#pauseAll();
    if (wire.readyState === 'open') this.#resume();
    else wire.addEventListener('open', () => this.#resume(), { signal });
  }

  /** Lets the channel go; uploads wait for the next. */
  detach(): void {
    this.#detach.abort();
    this.#wire = undefined;
    this.#pauseAll();
  }

  /** Sends file to the room; resolves when it is stored. Rejects with a Problem. */
  async send(file: Blob & { name: string }): Promise<void> {
    const id = this.#options.newId?.() ?? randomId();
    const stop = new AbortController();
    const done = new Promise<void>((resolve, reject) => {
      this.#jobs.set(id, {
        upload: { id, name: file.name, size: file.size, sent: 0, state: 'hashing' },
        file,
        sha256: '',
        asked: false,
        transfer: -1,
        next: 0,
        window: 0,
        acked: 0,
        stop,
        settle: { resolve, reject },
      });
    });
    const job = this.#jobs.get(id);
    if (!job) return;
    this.#changed();
    void this.#prepare(job);
    await done;
  }

  /** Gives an upload up, or takes a finished or failed one off the list. */
  remove(id: string): void {
    const job = this.#jobs.get(id);
    if (!job) return;
    if (job.upload.state === 'sending' || job.upload.state === 'waiting') {
      this.#text({ type: 'cancel', id });
    }
    job.stop.abort();
    this.#jobs.delete(id);
    job.settle.reject(new Problem('cancelled'));
    this.#changed();
    this.#resume();
  }

  async #prepare(job: Job): Promise<void> {
    const limit = this.#options.limit?.() ?? Infinity;
    if (job.file.size > limit) {
      this.#fail(job, new Problem('file_too_large'));
      return;
    }
    try {
      job.sha256 = await (this.#options.digest ?? digest)(job.file, job.stop.signal);
    } catch (err) {
      // A file that was moved or changed since it was chosen cannot be read.
      if (!isAbort(err)) this.#fail(job, new Problem('file_unreadable', toProblem(err).message));
      return;
    }
    job.upload.state = 'waiting';
    this.#changed();
    this.#resume();
  }

  #put(job: Job): void {
    job.asked = true;
    const { id, name, size } = job.upload;
    const { sha256 } = job;
    const media_type = job.file.type || 'application/octet-stream';
    this.#text({ type: 'put', id, name, size, sha256, media_type });
  }

  #receive(data: unknown): void {
    if (typeof data !== 'string') return;
    let message: Record<string, unknown>;
    try {
      message = JSON.parse(data) as Record<string, unknown>;
    } catch {
      return;
    }
    const id = message['id'];
    const job = typeof id === 'string' ? this.#jobs.get(id) : undefined;
    if (!job || job.upload.state === 'stored' || job.upload.state === 'failed') return;
    const offset = Number(message['offset']) || 0;
    switch (message['type']) {
      case 'go':
        job.transfer = Number(message['transfer']) || 0;
        job.next = job.acked = job.upload.sent = offset;
        job.window = Number(message['window']) || WINDOW;
        job.upload.state = 'sending';
        this.#changed();
        void this.#pump();
        break;
      case 'ack':
        job.acked = job.upload.sent = Math.max(job.acked, offset);
        this.#changed();
        void this.#pump();
        break;
      case 'stored':
        job.upload.sent = job.upload.size;
        job.upload.state = 'stored';
        this.#changed();
        job.settle.resolve();
        this.#resume();
        break;
      case 'error':
        this.#refused(job, message);
        break;
    }
  }

  #refused(job: Job, message: Record<string, unknown>): void {
    const code = typeof message['code'] === 'string' ? message['code'] : 'unexpected';
    const text = typeof message['message'] === 'string' ? message['message'] : code;
    const wait = Number(message['retry_after_ms']) || (passing.has(code) ? 1000 : 0);
    if (wait > 0) {
      job.upload.state = 'waiting';
      this.#changed();
      setTimeout(() => {
        job.asked = false;
        this.#resume();
      }, wait);
      return;
    }
    this.#fail(job, new Problem(code, text));
  }

  /** Sends as much as window and buffer allow; called again when either opens. */
  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      for (let job = this.#ready(); job; job = this.#ready()) {
        const from = job.next;
        const to = Math.min(from + CHUNK, job.upload.size, job.acked + job.window);
        job.next = to;
        await this.#chunk(job, from, to);
      }
    } finally {
      this.#pumping = false;
    }
  }

  /** The first upload that may send now. */
  #ready(): Job | undefined {
    const wire = this.#wire;
    if (wire?.readyState !== 'open' || wire.bufferedAmount > BUFFER_HIGH) return undefined;
    return [...this.#jobs.values()].find(
      (job) =>
        job.upload.state === 'sending' &&
        job.next < job.upload.size &&
        job.next < job.acked + job.window,
    );
  }

  async #chunk(job: Job, from: number, to: number): Promise<void> {
    const wire = this.#wire;
    const transfer = job.transfer;
    try {
      const data = new Uint8Array(await job.file.slice(from, to).arrayBuffer());
      // While the file was read, the upload may have been given up or resumed elsewhere.
      const stale = wire !== this.#wire || transfer !== job.transfer;
      if (stale || job.upload.state !== 'sending' || wire?.readyState !== 'open') return;
      const message = new Uint8Array(HEADER + data.length);
      const header = new DataView(message.buffer);
      header.setUint32(0, transfer);
      header.setUint32(4, from);
      message.set(data, HEADER);
      wire.send(message.buffer);
    } catch (err) {
      // A channel that closes under us says so by an event; a file that cannot be read does not.
      if (wire?.readyState === 'open') {
        this.#fail(job, new Problem('file_unreadable', toProblem(err).message));
      }
    }
  }

  /** Asks for the uploads whose turn it is. */
  #resume(): void {
    if (this.#wire?.readyState !== 'open') return;
    const open = (job: Job) => job.asked && ['waiting', 'sending'].includes(job.upload.state);
    for (const job of this.#jobs.values()) {
      if ([...this.#jobs.values()].filter(open).length >= OPEN_AT_ONCE) return;
      if (job.upload.state === 'waiting' && !job.asked) this.#put(job);
    }
  }

  #pauseAll(): void {
    for (const job of this.#jobs.values()) {
      if (job.upload.state === 'sending') job.upload.state = 'waiting';
      job.transfer = -1;
      job.asked = false;
    }
    this.#changed();
  }

  #fail(job: Job, problem: Problem): void {
    job.stop.abort();
    job.upload.state = 'failed';
    job.upload.problem = problem;
    this.#changed();
    job.settle.reject(problem);
    this.#resume();
  }

  #text(message: Record<string, unknown>): void {
    if (this.#wire?.readyState === 'open') this.#wire.send(JSON.stringify(message));
  }

  #changed(): void {
    this.emit('uploads', this.uploads);
  }
}

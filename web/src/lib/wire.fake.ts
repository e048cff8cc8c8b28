import type { Wire } from './chat.ts';

type Listener = (event: { data?: unknown }) => void;

/** A data channel without a network, for tests. */
export class FakeWire implements Wire {
  readyState = 'connecting';
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  readonly sent: (string | ArrayBuffer)[] = [];
  readonly #listeners = new Map<string, Set<Listener>>();

  /** The text messages, parsed. */
  get messages(): Record<string, unknown>[] {
    return this.sent.flatMap((data) =>
      typeof data === 'string' ? [JSON.parse(data) as Record<string, unknown>] : [],
    );
  }

  get chunks(): ArrayBuffer[] {
    return this.sent.filter((data) => typeof data !== 'string');
  }

  send(data: string | ArrayBuffer): void {
    if (this.readyState !== 'open') throw new Error('not open');
    this.sent.push(data);
  }

  addEventListener(type: string, listener: Listener, options?: { signal?: AbortSignal }): void {
    const set = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, set.add(listener));
    options?.signal?.addEventListener('abort', () => set.delete(listener));
  }

  open(): void {
    this.readyState = 'open';
    this.#emit('open', {});
  }

  drop(): void {
    this.readyState = 'closed';
    this.#emit('close', {});
  }

  /** A message of the other side: an object as JSON, a string as it is. */
  receive(message: object | string): void {
    const data = typeof message === 'string' ? message : JSON.stringify(message);
    this.#emit('message', { data });
  }

  /** The buffer has run low. */
  low(): void {
    this.#emit('bufferedamountlow', {});
  }

  #emit(type: string, event: { data?: unknown }): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) listener(event);
  }
}

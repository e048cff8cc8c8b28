/** Limits of the pauses between attempts, in milliseconds. */
export interface BackoffOptions {
  first?: number;
  longest?: number;
  /** A number in [0, 1); replaced in tests. */
  random?: () => number;
}

/** Pauses between attempts: each about twice the one before, with a spread of a quarter. */
export class Backoff {
  readonly #first: number;
  readonly #longest: number;
  readonly #random: () => number;
  #attempt = 0;

  constructor(options: BackoffOptions = {}) {
    this.#first = options.first ?? 250;
    this.#longest = options.longest ?? 3000;
    this.#random = options.random ?? Math.random;
  }

  /** How many pauses were taken since the last success. */
  get attempt(): number {
    return this.#attempt;
  }

  /** The next pause in milliseconds; never shorter than atLeast. */
  next(atLeast = 0): number {
    const plain = Math.min(this.#longest, this.#first * 2 ** this.#attempt);
    this.#attempt++;
    // A whole class loses its server at once: the spread keeps it from coming back at once.
    const spread = plain * (0.75 + 0.5 * this.#random());
    // Nor does it come back all at once when the server named the time.
    const asked = atLeast && atLeast + plain * 0.5 * this.#random();
    return Math.round(Math.max(asked, spread));
  }

  /** Begins again with the shortest pause. */
  reset(): void {
    this.#attempt = 0;
  }
}

/** Resolves after ms, or at once when wake aborts; rejects when signal aborts. */
export function pause(ms: number, signal?: AbortSignal, wake?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(abortReason(signal));
      return;
    }
    const finish = (settle: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      wake?.removeEventListener('abort', onWake);
      settle();
    };
    const onAbort = () => finish(() => reject(abortReason(signal)));
    const onWake = () => finish(resolve);
    const timer = setTimeout(() => finish(resolve), wake?.aborted ? 0 : ms);
    signal?.addEventListener('abort', onAbort, { once: true });
    wake?.addEventListener('abort', onWake, { once: true });
  });
}

/** The reason of an aborted signal as an Error. */
export function abortReason(signal?: AbortSignal): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new DOMException('aborted', 'AbortError');
}

/**
 * Lets a state change only once the new one has lasted, so that words do not
 * flicker. T is compared by identity.
 */
export class Steady<T> {
  readonly #lasts: (from: T, to: T) => number;
  #shown: T;
  #next: T | undefined;
  #since = 0;

  /** lasts: for how many milliseconds to must have been seen before it takes the place of from. */
  constructor(first: T, lasts: (from: T, to: T) => number) {
    this.#shown = first;
    this.#lasts = lasts;
  }

  /** What is shown. */
  get shown(): T {
    return this.#shown;
  }

  /** Notes what is seen at now, in milliseconds; undefined: nothing can be told. Returns what to show. */
  see(state: T | undefined, now: number): T {
    if (state === undefined) return this.#shown;
    if (state === this.#shown) {
      this.#next = undefined;
      return this.#shown;
    }
    if (state !== this.#next) {
      this.#next = state;
      this.#since = now;
    }
    if (now - this.#since >= this.#lasts(this.#shown, state)) {
      this.#shown = state;
      this.#next = undefined;
    }
    return this.#shown;
  }
}

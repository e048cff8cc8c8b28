/** What came in until a moment, and whether more had to. */
export interface Inflow {
  /** Bytes that came in so far. */
  bytes: number;
  /** Whether bytes must be coming in now. */
  expected: boolean;
}

/** Measures for how long nothing came in that should have. */
export class Silence {
  #bytes = -1;
  #since: number;
  #moved: number;

  /** now in milliseconds, here and below. */
  constructor(now: number) {
    this.#since = this.#moved = now;
  }

  begin(now: number): void {
    this.#since = this.#moved = now;
  }

  /**
   * quiet: milliseconds of silence; 0 when something came in or nothing had to.
   * still: milliseconds since something came in, had it to or not.
   * moved: something came in since the last call.
   */
  note({ bytes, expected }: Inflow, now: number): { quiet: number; still: number; moved: boolean } {
    const moved = bytes > Math.max(0, this.#bytes);
    this.#bytes = bytes;
    if (moved) this.#moved = now;
    const still = now - this.#moved;
    if (!moved && expected) return { quiet: Math.max(1, now - this.#since), still, moved };
    this.#since = now;
    return { quiet: 0, still, moved };
  }
}

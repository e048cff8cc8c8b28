/** The part of AnalyserNode that is used. */
export interface Analyser {
  readonly fftSize: number;
  getFloatTimeDomainData(samples: Float32Array<ArrayBuffer>): void;
}

/** Below this a microphone counts as silent: the noise of a quiet room is louder. */
export const SILENCE = 0.02;

/** How loud the last samples were: 0 is -60 dB or less, 1 is full scale. */
export function loudness(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const rms = Math.sqrt(sum / Math.max(1, samples.length));
  if (rms <= 0.001) return 0;
  return Math.min(1, 1 + (20 * Math.log10(rms)) / 60);
}

/** Reads the level of a microphone and notices when it stays silent. */
export class LevelMeter {
  readonly #samples: Float32Array<ArrayBuffer>;
  readonly #analyser: Analyser;
  #heardAt: number;
  #level = 0;

  constructor(analyser: Analyser, now: number) {
    this.#analyser = analyser;
    this.#samples = new Float32Array(analyser.fftSize);
    this.#heardAt = now;
  }

  /** The level now, 0 to 1: rises at once, falls slowly, so that the eye can follow. */
  read(now: number): number {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const level = loudness(this.#samples);
    this.#level = Math.max(level, this.#level * 0.85);
    if (level > SILENCE) this.#heardAt = now;
    return this.#level;
  }

  /** Nothing can be measured now: that is no silence. */
  rest(now: number): void {
    this.#level = 0;
    this.#heardAt = now;
  }

  /** Whether nothing was heard for ms. */
  silentFor(ms: number, now: number): boolean {
    return now - this.#heardAt >= ms;
  }
}

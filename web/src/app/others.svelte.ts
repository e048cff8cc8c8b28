import { Viewer } from '../lib/whep.ts';

/** What one person on air watches of others at most: the rest is for the class. */
const MAX_OTHERS = 3;

interface Watched {
  viewer: Viewer;
  stop: AbortController;
}

/** The streams of others in a room, for somebody who is on air there too. */
export class Others {
  readonly #room: string;
  readonly #credential: string;
  readonly #watched = new Map<string, Watched>();

  /** What to show, by slot. */
  streams = $state.raw<Record<string, MediaStream>>({});

  constructor(room: string, credential: string) {
    this.#room = room;
    this.#credential = credential;
  }

  /** Watches these slots and no others from now on. */
  follow(slots: string[]): void {
    const wanted = slots.slice(0, MAX_OTHERS);
    for (const slot of this.#watched.keys()) if (!wanted.includes(slot)) this.#leave(slot);
    for (const slot of wanted) if (!this.#watched.has(slot)) this.#watch(slot);
  }

  close(): void {
    this.follow([]);
  }

  #watch(slot: string): void {
    const stop = new AbortController();
    const viewer = new Viewer({
      room: this.#room,
      slot,
      credential: this.#credential,
      expectMedia: () => this.#watched.has(slot),
    });
    this.#watched.set(slot, { viewer, stop });
    viewer.on(
      'session',
      (session) => {
        const stream = new MediaStream();
        session.on('track', (track) => {
          stream.addTrack(track);
          this.streams = { ...this.streams, [slot]: stream };
        });
      },
      stop.signal,
    );
    void viewer.start(stop.signal);
  }

  #leave(slot: string): void {
    const { viewer, stop } = this.#watched.get(slot) ?? {};
    this.#watched.delete(slot);
    stop?.abort();
    void viewer?.close();
    const { [slot]: gone, ...others } = this.streams;
    this.streams = others;
  }
}

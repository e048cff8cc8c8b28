import {
  type Layer,
  type LayerChoice,
  type Quality,
  bestOf,
  blindChoice,
  choiceOf,
  choose,
  followLayers,
  picturesOf,
} from '../lib/layers.ts';
import { toProblem } from '../lib/problem.ts';
import type { PeerSession } from '../lib/session.ts';
import { Steady } from '../lib/steady.ts';
import { prefs, remember } from './prefs.svelte.ts';

/** How long a picture must stay small before the page says so, and the end of that, ms. */
const SMALL = 6000;
const BIG_AGAIN = 2000;
/** What the server calls it when the network of the viewer decides; '' if it does not say. */
const NETWORK = ['', 'bandwidth', 'rising', 'too_much', 'frozen'];
/** Lines of which a picture may fall short and still be the same size. */
const NEARLY = 0.9;

/** One session, and what its server was asked for last. */
interface Followed {
  session: PeerSession;
  slot: string;
  asked: string;
}

/** Whether the person asked the browser to spend little. */
function savesData(): boolean {
  const { connection } = navigator as Navigator & { connection?: { saveData?: boolean } };
  return connection?.saveData === true;
}

/** The quality of what a class page shows: what there is, what is wished, what comes. */
export class QualityModel {
  #sessions: Followed[] = [];
  #steady = new Steady(false, (_, small) => (small ? SMALL : BIG_AGAIN));
  readonly #saves = savesData();

  /** What the publisher of the main stream sends. */
  layers = $state.raw<Layer[]>([]);
  /** Lines of the picture that comes; 0: none, or not known. */
  lines = $state(0);
  /** The picture is smaller than the best there is, and has been for a while. */
  small = $state(false);

  readonly wish: Quality = $derived(prefs.quality || (this.#saves ? 'low' : 'auto'));
  readonly pictures: Layer[] = $derived(picturesOf(this.layers));
  readonly best: Layer | undefined = $derived(bestOf(this.pictures));
  /** There is something to choose from. */
  readonly offered: boolean = $derived(this.pictures.length > 1);
  /** Why the server sends what it sends; '' where it does not say. */
  readonly #told: string = $derived(this.layers.find(({ why }) => why)?.why ?? '');
  /** The network is why the picture is small: nobody asked for that. */
  readonly slow: boolean = $derived(
    this.offered && this.small && this.wish === 'auto' && NETWORK.includes(this.#told),
  );
  /** The publisher does not send its largest picture at the moment. */
  readonly #held: boolean = $derived(this.best !== this.pictures.at(-1));
  /** Why the picture is as it is, for words. */
  readonly why: 'auto' | 'slow' | 'sender' | 'high' | 'low' | 'saves' = $derived.by(() => {
    if (this.wish === 'low') return prefs.quality ? 'low' : 'saves';
    if (this.slow) return 'slow';
    return this.#held ? 'sender' : this.wish;
  });

  /** Follows the layers of a session of the slot for as long as it lives. */
  follow(session: PeerSession, slot: string): void {
    this.#sessions = this.#sessions.filter((f) => f.slot !== slot && !f.session.ended.aborted);
    const followed: Followed = { session, slot, asked: '{}' };
    this.#sessions.push(followed);
    const off = session.on('link', (link) => {
      if (link !== 'up') return;
      off();
      void this.#ask(followed);
      // Of the main stream only: browsers have few connections to one server.
      if (slot !== 'main') return;
      void followLayers(session.resource, session.ended, (layers) => {
        this.layers = layers;
        void this.#ask(followed);
      });
    });
  }

  /** Chooses, now and for the classes to come. */
  choose(quality: Quality): void {
    remember({ quality });
    this.#steady = new Steady(false, (_, small) => (small ? SMALL : BIG_AGAIN));
    this.small = false;
    for (const followed of this.#sessions) void this.#ask(followed);
  }

  /** Notes how many lines come at now, in milliseconds; 0: nothing to tell by. */
  got(lines: number, now: number): void {
    this.lines = lines;
    const best = this.best?.lines ?? 0;
    this.small = this.#steady.see(lines > 0 && best > 0 ? lines < best * NEARLY : undefined, now);
  }

  #choice(slot: string): LayerChoice {
    if (slot !== 'main' || this.layers.length === 0) return blindChoice(this.wish, slot);
    return choiceOf(this.wish, this.layers);
  }

  async #ask(followed: Followed): Promise<void> {
    const { session, slot } = followed;
    const choice = this.#choice(slot);
    const asked = JSON.stringify(choice);
    if (asked === followed.asked || !session.address) return;
    followed.asked = asked;
    try {
      await choose(session.resource, choice, session.ended);
    } catch (err) {
      // Asked again with the next news of layers, unless it is they that do not fit.
      if (!toProblem(err).final && followed.asked === asked) followed.asked = '';
    }
  }
}

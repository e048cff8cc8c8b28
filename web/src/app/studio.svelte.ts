import type { Api, Info, Issued } from '../lib/api.ts';
import type { LinkState } from '../lib/link.ts';
import { type Problem, Problem as ProblemError, toProblem } from '../lib/problem.ts';
import { type Scarce, scarceOf } from '../lib/encodings.ts';
import type { Path } from '../lib/stats.ts';
import type { Uplink } from '../lib/uplink.ts';
import { Publisher } from '../lib/whip.ts';
import { AccessModel } from './access.svelte.ts';
import { Capture } from './capture.svelte.ts';
import { prefs } from './prefs.svelte.ts';
import { RoomModel } from './room.svelte.ts';

/** setup: before; starting: on the way; air: on air, or on the way back; ended: after. */
export type StudioStage = 'setup' | 'starting' | 'air' | 'ended';

const UPLINK_EVERY = 2000;
const PLAYER_TTL = '24h';
/** Where an assistant appears while somebody else has the main stream. */
const ASSISTANT_SLOT = 'assistant';

/** Who opened the studio. */
export interface Host {
  name: string;
  lang: string;
  /** May start and end classes, and invite; who may not, speaks in those of others. */
  leads: boolean;
  /** The only stream that the token may publish; '': any. */
  slot?: string;
}

/** A teacher's side of a class, from the first look into the camera to its end. */
export class StudioModel {
  readonly room: RoomModel;
  readonly capture = new Capture();
  readonly api: Api;
  readonly access: AccessModel;
  readonly leads: boolean;
  readonly #onlySlot: string;
  readonly #stop = new AbortController();
  #publisher: Publisher | undefined;
  #sharing: Publisher | undefined;
  #unlock: (() => void) | undefined;
  #airAt = 0;

  stage = $state<StudioStage>('setup');
  /** What the main stream shows. */
  source = $state<'camera' | 'screen'>('camera');
  link = $state.raw<LinkState>();
  uplink = $state.raw<Uplink>();
  /** The way that the main stream takes. */
  path = $state.raw<Path>();
  problem = $state.raw<Problem>();
  info = $state.raw<Info>();
  /** Milliseconds that the server took to answer. */
  answerMs = $state(0);
  players = $state.raw<Issued>();
  /** Where the main stream of this studio goes. */
  slot = $state('main');
  /** The class ended by somebody else's hand. */
  endedElsewhere = $state(false);
  sharing = $state(false);
  lectureId = $state('');
  /** What there is too little of here for several qualities. */
  readonly scarce: Scarce | undefined = scarceOf(navigator);
  /** Whether a camera goes out in several qualities. */
  readonly several: boolean = $derived(prefs.several ? prefs.several === 'on' : !this.scarce);

  /** On air and connected: the only time when the page says so. */
  readonly live: boolean = $derived(this.stage === 'air' && this.link?.phase === 'up');

  constructor(api: Api, name: string, who: Host) {
    this.api = api;
    this.leads = who.leads;
    this.#onlySlot = who.slot ?? '';
    this.access = new AccessModel(api, name);
    this.room = new RoomModel(api, name, who);
    this.capture.onreplace = (kind, track) => this.#replace(kind, track);
    this.capture.onscreenend = () => void this.#screenEnded();
    const { signal } = this.#stop;
    this.room.chat.on(
      'event',
      (event) => {
        if (event.type === 'class' && event.state === 'ended' && event.at > this.#airAt) {
          void this.#classEnded();
        }
      },
      signal,
    );
    $effect(() => {
      const info = this.room.info;
      const late = info && Date.parse(info.now) - this.room.clockOffset > this.#airAt + 3000;
      if (late && info.state === 'idle' && this.live) void this.#classEnded();
    });
  }

  start(): void {
    void this.room.start();
    void this.#check();
    if (this.leads) void this.access.load(this.#stop.signal);
  }

  /** Chooses what the main stream shows; a screen is asked for at once. */
  async choose(source: 'camera' | 'screen'): Promise<void> {
    if (source === 'screen') {
      if (!(await this.capture.shareScreen())) return;
    } else {
      this.capture.stopScreen();
    }
    this.source = source;
  }

  /**
   * Starts the class, or goes on with the one that is on. takeOver: also where
   * somebody else is on air in it. Problems show in this.problem.
   */
  async startClass(title: string, takeOver = false): Promise<void> {
    this.problem = undefined;
    this.stage = 'starting';
    let began = false;
    try {
      await this.#lock();
      this.slot = await this.#freeSlot();
      if (this.leads) began = await this.#beginClass(title);
      this.#airAt = Date.now() + this.room.clockOffset;
      this.endedElsewhere = false;
      await this.#publish(takeOver);
      this.stage = 'air';
      void this.room.refresh();
      void this.#watchUplink();
      if (this.leads) {
        this.players ??= await this.api.issue(this.room.name, 'player', PLAYER_TTL);
      }
    } catch (err) {
      if (this.stage === 'air') return; // only the addresses for players are missing
      this.problem = toProblem(err);
      this.stage = 'setup';
      await this.#unpublish(true);
      if (began) await this.api.endClass(this.room.name).catch(() => undefined);
    }
  }

  /** Goes back on air after the stream was ended for good; takes it back if takeOver is set. */
  async goBack(takeOver: boolean): Promise<void> {
    await this.#publisher?.close();
    // What goes wrong shows in this.link.
    await this.#publish(takeOver).catch(() => undefined);
    void this.#watchUplink();
  }

  /** Stops speaking; the class goes on without this person. */
  async leaveAir(): Promise<void> {
    await this.#unpublish(true);
    this.reset();
  }

  async endClass(): Promise<void> {
    this.lectureId = this.room.lastClass?.lecture_id ?? '';
    try {
      await this.api.endClass(this.room.name, this.#stop.signal);
    } catch (err) {
      // Over already: what was wanted.
      if (toProblem(err).code !== 'no_class') throw err;
    }
    this.stage = 'ended';
    await this.#unpublish(true);
  }

  /** Shares a screen as a stream of its own, beside the camera. */
  async shareScreen(): Promise<void> {
    if (!(await this.capture.shareScreen())) return;
    const track = this.capture.screen;
    if (!track || this.#sharing) return;
    this.sharing = true;
    this.#sharing = new Publisher({
      room: this.room.name,
      slot: 'screen',
      credential: this.api.credential ?? '',
      tracks: [track],
      codec: prefs.codec,
      several: this.several,
      content: (track) => this.#contentOf(track),
    });
    this.#sharing.on('state', ({ phase, problem }) => {
      if (phase !== 'failed') return;
      this.capture.problems.screen = problem;
      void this.stopScreen();
    });
    void this.#sharing.start(this.#stop.signal);
  }

  async stopScreen(): Promise<void> {
    this.capture.stopScreen();
    const sharing = this.#sharing;
    this.#sharing = undefined;
    this.sharing = false;
    await sharing?.close();
  }

  retryNow(): void {
    this.#publisher?.retryNow();
    this.#sharing?.retryNow();
  }

  /** Goes back before the class, for another one. */
  reset(): void {
    this.stage = 'setup';
    this.link = undefined;
    this.problem = undefined;
    this.lectureId = '';
  }

  /**
   * Leaves the studio. A class that is on goes on without its streams, and waits
   * for its teacher to come back; students are told so at once.
   */
  close(): void {
    if (this.#stop.signal.aborted) return;
    for (const publisher of [this.#publisher, this.#sharing]) void publisher?.close();
    this.#stop.abort();
    this.room.close();
    this.capture.close();
    this.#unlock?.();
  }

  /** True when the class began now, false when it is on already. */
  async #beginClass(title: string): Promise<boolean> {
    try {
      await this.api.startClass(this.room.name, title, prefs.record, this.#stop.signal);
      return true;
    } catch (err) {
      if (toProblem(err).code !== 'class_running') throw err;
      return false;
    }
  }

  /** Who leads has the main stream; others have it while nobody else does. */
  async #freeSlot(): Promise<string> {
    if (this.#onlySlot) return this.#onlySlot;
    if (this.leads) return 'main';
    await this.room.refresh();
    return this.room.liveSlots.includes('main') ? ASSISTANT_SLOT : 'main';
  }

  async #publish(takeOver: boolean): Promise<void> {
    const { capture } = this;
    const video = this.source === 'screen' ? capture.screen : capture.camera;
    const tracks = [video, capture.microphone].filter((track) => track !== undefined);
    const publisher = new Publisher({
      room: this.room.name,
      slot: this.slot,
      takeOver,
      credential: this.api.credential ?? '',
      tracks,
      codec: prefs.codec,
      several: this.several,
      content: (track) => this.#contentOf(track),
      channels: true,
    });
    this.#publisher = publisher;
    publisher.on('session', (session) => this.room.attach(session));
    const up = new Promise<void>((resolve, reject) => {
      publisher.on('state', (state) => {
        this.link = state;
        if (state.phase === 'up') resolve();
        if (state.phase === 'failed') reject(state.problem ?? new ProblemError('unexpected'));
        // The first connection is not tried for ever: the person waits before a button.
        if (state.phase === 'connecting' && state.problem && state.attempt > 2)
          reject(state.problem);
      });
    });
    void publisher.start(this.#stop.signal);
    await up;
  }

  async #unpublish(tell: boolean): Promise<void> {
    const publisher = this.#publisher;
    this.#publisher = undefined;
    await this.stopScreen();
    if (!tell) await publisher?.session?.close(false);
    await publisher?.close();
    this.room.chat.detach();
    this.room.files.detach();
    this.#unlock?.();
  }

  #replace(kind: string, track: MediaStreamTrack): void {
    if (kind === 'screen') {
      if (this.#sharing) void this.#sharing.replaceTrack(track);
      else if (this.source === 'screen') void this.#publisher?.replaceTrack(track);
      return;
    }
    if (kind === 'camera' && this.source === 'screen') return;
    void this.#publisher?.replaceTrack(track);
  }

  #contentOf(track: MediaStreamTrack): 'camera' | 'screen' {
    return track === this.capture.screen ? 'screen' : 'camera';
  }

  /** The person stopped sharing in the browser's own bar. */
  async #screenEnded(): Promise<void> {
    if (this.#sharing) await this.stopScreen();
    if (this.source !== 'screen') return;
    this.source = 'camera';
    const { camera } = this.capture;
    if (camera) await this.#publisher?.replaceTrack(camera);
  }

  async #classEnded(): Promise<void> {
    if (this.stage !== 'air') return;
    this.lectureId = this.room.lastClass?.lecture_id ?? '';
    this.endedElsewhere = true;
    this.stage = 'ended';
    await this.#unpublish(true);
  }

  /** One studio of a room per browser: a second one takes over, and the first lets go. */
  async #lock(): Promise<void> {
    if (!navigator.locks) return;
    await new Promise<void>((locked) => {
      navigator.locks
        .request(`lectern.studio.${this.room.name}`, { steal: true }, () => {
          locked();
          return new Promise<void>((unlock) => (this.#unlock = unlock));
        })
        .catch(() => this.#stolen());
    });
  }

  #stolen(): void {
    if (this.stage !== 'air' && this.stage !== 'starting') return;
    this.problem = new ProblemError('taken_over');
    this.stage = 'setup';
    void this.#unpublish(false);
  }

  async #watchUplink(): Promise<void> {
    const publisher = this.#publisher;
    while (publisher && publisher === this.#publisher && !this.#stop.signal.aborted) {
      this.uplink = await publisher.uplink().catch(() => undefined);
      this.path = await publisher.path().catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, UPLINK_EVERY));
    }
  }

  async #check(): Promise<void> {
    const asked = performance.now();
    try {
      this.info = await this.api.info(this.#stop.signal);
      this.answerMs = Math.max(1, Math.round(performance.now() - asked));
    } catch {
      // The room's own polling tells that the server is away.
    }
  }
}

import { Devices, type DeviceList } from '../lib/devices.ts';
import { LevelMeter } from '../lib/meter.ts';
import { Problem, toProblem } from '../lib/problem.ts';
import { prefs, remember } from './prefs.svelte.ts';

/** The value of "No camera" and "No microphone" in the pickers. */
export const NONE = 'none';

const LEVEL_EVERY = 50;
const SILENT_AFTER = 5000;

type Kind = 'camera' | 'microphone' | 'screen';

/**
 * Camera, microphone and screen of the studio: what is open, how loud it is and
 * why something could not be opened. Reactive; owned by the page.
 */
export class Capture {
  readonly #devices: Devices;
  readonly #stop = new AbortController();
  #audio: AudioContext | undefined;
  #listening: (() => void) | undefined;

  camera = $state.raw<MediaStreamTrack>();
  microphone = $state.raw<MediaStreamTrack>();
  screen = $state.raw<MediaStreamTrack>();
  problems = $state<Partial<Record<Kind, Problem>>>({});
  list = $state.raw<DeviceList>({ cameras: [], microphones: [] });
  asking = $state(false);
  asked = $state(false);
  /** 0 to 1. */
  level = $state(0);
  silent = $state(false);
  muted = $state(false);
  cameraOff = $state(false);

  /** Called with a track that takes the place of one of its kind. */
  onreplace: ((kind: Kind, track: MediaStreamTrack) => void) | undefined;
  /** Called when the person stops sharing in the browser's own bar. */
  onscreenend: (() => void) | undefined;

  constructor() {
    const { signal } = this.#stop;
    this.#devices = new Devices(navigator.mediaDevices, signal);
    this.#devices.on('list', (list) => (this.list = list), signal);
  }

  get canShareScreen(): boolean {
    return this.#devices.canShareScreen;
  }

  /** Whether the browser would open camera and microphone without a question. */
  async allowed(): Promise<boolean> {
    try {
      const states = await Promise.all(
        ['camera', 'microphone'].map((name) =>
          navigator.permissions.query({ name: name as PermissionName }),
        ),
      );
      return states.every(({ state }) => state === 'granted');
    } catch {
      return false; // Not every browser tells.
    }
  }

  /** Opens what the person had chosen last, with one question of the browser. */
  async ask(): Promise<void> {
    this.asking = true;
    this.problems = {};
    const [wantCamera, wantMicrophone] = [prefs.camera !== NONE, prefs.microphone !== NONE];
    try {
      if (wantCamera && wantMicrophone) {
        const tracks = await this.#devices.both(prefs.camera, prefs.microphone, prefs.picture);
        for (const track of tracks)
          this.#take(track.kind === 'video' ? 'camera' : 'microphone', track);
        return;
      }
      throw new Problem('one');
    } catch {
      // One of them is missing or refused: find out which, and take the other.
      if (wantCamera) await this.chooseCamera(prefs.camera);
      if (wantMicrophone) await this.chooseMicrophone(prefs.microphone);
    } finally {
      this.asking = false;
      this.asked = true;
    }
  }

  /** '' is the browser's choice; NONE closes the camera. */
  async chooseCamera(id: string): Promise<void> {
    remember({ camera: id });
    if (id === NONE) {
      this.#drop('camera');
      return;
    }
    await this.#open('camera', () => this.#devices.camera(id, prefs.picture));
  }

  async chooseMicrophone(id: string): Promise<void> {
    remember({ microphone: id });
    if (id === NONE) {
      this.#drop('microphone');
      return;
    }
    await this.#open('microphone', () => this.#devices.microphone(id));
  }

  /** Opens the camera again with the chosen size. */
  async choosePicture(picture: typeof prefs.picture): Promise<void> {
    remember({ picture });
    if (this.camera) await this.chooseCamera(prefs.camera);
  }

  /** Lets the person choose a screen. False: none was chosen. */
  async shareScreen(): Promise<boolean> {
    await this.#open('screen', () => this.#devices.screen());
    return this.screen !== undefined;
  }

  stopScreen(): void {
    this.#drop('screen');
  }

  /** Mutes by silence: the track goes on, so that nothing is renegotiated. */
  setMuted(muted: boolean): void {
    this.muted = muted;
    if (this.microphone) this.microphone.enabled = !muted;
  }

  setCameraOff(off: boolean): void {
    this.cameraOff = off;
    if (this.camera) this.camera.enabled = !off;
  }

  close(): void {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    for (const kind of ['camera', 'microphone', 'screen'] as const) this.#drop(kind);
    void this.#audio?.close();
  }

  async #open(kind: Kind, open: () => Promise<MediaStreamTrack>): Promise<void> {
    delete this.problems[kind];
    try {
      const before = this[kind];
      // Some cameras open once only: the old one has to go first.
      if (kind === 'camera' && before) before.stop();
      const track = await open();
      if (this.#stop.signal.aborted) {
        track.stop();
        return;
      }
      this.#take(kind, track);
      before?.stop();
    } catch (err) {
      if (kind === 'camera' && this.camera?.readyState === 'ended') this.camera = undefined;
      this.problems[kind] = toProblem(err);
    }
  }

  #take(kind: Kind, track: MediaStreamTrack): void {
    const { signal } = this.#stop;
    track.addEventListener('ended', () => this.#ended(kind, track), { signal });
    if (kind === 'camera') {
      track.enabled = !this.cameraOff;
      this.camera = track;
    } else if (kind === 'microphone') {
      track.enabled = !this.muted;
      this.microphone = track;
      this.#listen(track);
    } else {
      this.screen = track;
    }
    this.onreplace?.(kind, track);
  }

  #drop(kind: Kind): void {
    this[kind]?.stop();
    this[kind] = undefined;
    if (kind === 'microphone') this.#unlisten();
  }

  /** The device was unplugged, or sharing was stopped in the browser's own bar. */
  #ended(kind: Kind, track: MediaStreamTrack): void {
    if (this[kind] !== track) return;
    this.#drop(kind);
    if (kind === 'screen') this.onscreenend?.();
    else this.problems[kind] = new Problem(`${kind}_missing`);
  }

  #listen(track: MediaStreamTrack): void {
    this.#unlisten();
    try {
      this.#audio ??= new AudioContext();
      void this.#audio.resume();
      const source = this.#audio.createMediaStreamSource(new MediaStream([track]));
      const analyser = this.#audio.createAnalyser();
      analyser.fftSize = 1024;
      source.connect(analyser);
      const meter = new LevelMeter(analyser, Date.now());
      const timer = setInterval(() => {
        const now = Date.now();
        if (this.#audio?.state !== 'running') {
          // Not allowed before the first press on the page: no level, and no complaint.
          meter.rest(now);
          void this.#audio?.resume();
          return;
        }
        this.level = meter.read(now);
        this.silent = !this.muted && meter.silentFor(SILENT_AFTER, now);
      }, LEVEL_EVERY);
      this.#listening = () => {
        clearInterval(timer);
        source.disconnect();
      };
    } catch {
      // No meter is no reason not to teach.
    }
  }

  #unlisten(): void {
    this.#listening?.();
    this.#listening = undefined;
    this.level = 0;
    this.silent = false;
  }
}

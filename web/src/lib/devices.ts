import { Emitter } from './emitter.ts';
import { Problem } from './problem.ts';

export interface Device {
  id: string;
  label: string;
}

export interface DeviceList {
  cameras: Device[];
  microphones: Device[];
}

/** The heights that a teacher may choose from; auto lets camera and network decide. */
export type Picture = 'auto' | '1080' | '720' | '480';

export interface DeviceEvents {
  /** Something was plugged in or out, or names became known. */
  list: DeviceList;
}

/** The part of MediaDevices that is used. */
export type MediaSource = Pick<
  MediaDevices,
  'getUserMedia' | 'enumerateDevices' | 'addEventListener'
> &
  Partial<Pick<MediaDevices, 'getDisplayMedia'>>;

/** Cameras, microphones and screens. */
export class Devices extends Emitter<DeviceEvents> {
  readonly #media: MediaSource | undefined;

  constructor(media: MediaSource | undefined, signal?: AbortSignal) {
    super();
    this.#media = media;
    media?.addEventListener('devicechange', () => void this.refresh(), signal ? { signal } : {});
  }

  /** Whether the browser can share a screen at all (phones cannot). */
  get canShareScreen(): boolean {
    return this.#media?.getDisplayMedia !== undefined;
  }

  async refresh(): Promise<DeviceList> {
    const all = (await this.#media?.enumerateDevices()) ?? [];
    const of = (kind: string) =>
      all
        .filter((device) => device.kind === kind && device.deviceId !== '')
        .map(({ deviceId, label }) => ({ id: deviceId, label }));
    const list = { cameras: of('videoinput'), microphones: of('audioinput') };
    this.emit('list', list);
    return list;
  }

  /** Opens a camera; '' is the browser's choice. Rejects with a Problem. */
  camera(id: string, picture: Picture): Promise<MediaStreamTrack> {
    return this.#open({ video: cameraWish(id, picture) }, 'camera');
  }

  /** Opens a microphone; '' is the browser's choice. Rejects with a Problem. */
  microphone(id: string): Promise<MediaStreamTrack> {
    return this.#open({ audio: microphoneWish(id) }, 'microphone');
  }

  /** Opens both with one question to the person. Rejects with a Problem if either is missing. */
  async both(camera: string, microphone: string, picture: Picture): Promise<MediaStreamTrack[]> {
    if (!this.#media) throw new Problem('insecure_page');
    try {
      const stream = await this.#media.getUserMedia({
        video: cameraWish(camera, picture),
        audio: microphoneWish(microphone),
      });
      void this.refresh();
      return stream.getTracks().map(moving);
    } catch (err) {
      throw deviceProblem(err, 'camera');
    }
  }

  /** Lets the person choose a screen, window or tab. Rejects with a Problem. */
  async screen(): Promise<MediaStreamTrack> {
    if (!this.#media?.getDisplayMedia) throw new Problem('screen_unsupported');
    try {
      const stream = await this.#media.getDisplayMedia({
        video: { frameRate: { ideal: 15, max: 30 } },
        audio: false,
      });
      const track = firstOf(stream, 'screen_missing');
      // Text and slides: sharpness counts more than smoothness.
      if ('contentHint' in track) track.contentHint = 'detail';
      return track;
    } catch (err) {
      throw deviceProblem(err, 'screen');
    }
  }

  async #open(
    constraints: MediaStreamConstraints,
    what: 'camera' | 'microphone',
  ): Promise<MediaStreamTrack> {
    // Browsers hide all devices from pages that are not secure.
    if (!this.#media) throw new Problem('insecure_page');
    try {
      const stream = await this.#media.getUserMedia(constraints);
      void this.refresh(); // names are known from now on
      return moving(firstOf(stream, `${what}_missing`));
    } catch (err) {
      throw deviceProblem(err, what);
    }
  }
}

function cameraWish(id: string, picture: Picture): MediaTrackConstraints {
  const height = picture === 'auto' ? 1080 : Number(picture);
  return {
    ...(id ? { deviceId: { exact: id } } : {}),
    width: { ideal: Math.round((height * 16) / 9) },
    height: { ideal: height, ...(picture === 'auto' ? {} : { max: height }) },
    frameRate: { ideal: 30, max: 30 },
  };
}

function microphoneWish(id: string): MediaTrackConstraints {
  return {
    ...(id ? { deviceId: { exact: id } } : {}),
    echoCancellation: true,
    noiseSuppression: true,
    autoGainControl: true,
  };
}

/** Faces: smoothness counts more than sharpness. */
function moving(track: MediaStreamTrack): MediaStreamTrack {
  if (track.kind === 'video' && 'contentHint' in track) track.contentHint = 'motion';
  return track;
}

function firstOf(stream: MediaStream, code: string): MediaStreamTrack {
  const track = stream.getTracks()[0];
  if (!track) throw new Problem(code);
  return track;
}

/** Turns the errors of getUserMedia into codes such as camera_blocked. */
export function deviceProblem(err: unknown, what: string): Problem {
  if (err instanceof Problem) return err;
  const name = (err as { name?: string } | null)?.name ?? '';
  const kinds: Record<string, string> = {
    NotAllowedError: 'blocked',
    SecurityError: 'blocked',
    NotFoundError: 'missing',
    OverconstrainedError: 'missing',
    NotReadableError: 'busy',
    AbortError: 'busy',
  };
  const message = err instanceof Error ? err.message : name;
  return new Problem(`${what}_${kinds[name] ?? 'failed'}`, message);
}

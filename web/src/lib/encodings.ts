// In how many qualities a picture is sent, and how each of them is encoded.
import type { CodecChoice } from './whip.ts';

/** What a picture shows; it decides what is kept where not all goes through. */
export type Content = 'camera' | 'screen';

/** An encoding with the parameter of webrtc-svc that the DOM's types lack. */
export interface Encoding extends RTCRtpEncodingParameters {
  scalabilityMode?: string;
}

/** What is to be sent. */
export interface Shot {
  content: Content;
  /** Length of the shorter side, pixels. */
  lines: number;
  codec: CodecChoice;
  /** In several qualities, where that makes sense. */
  several: boolean;
  /** The browser takes a scalabilityMode. */
  scalable: boolean;
}

/** Upper limits of a picture that is sent in one quality, bits per second. */
const ONE_CAMERA = 4_000_000;
const ONE_SCREEN = 3_000_000;

/** Upper limits of one quality of several by its lines, bits per second. */
const LIMITS: [lines: number, bitrate: number][] = [
  [1080, 3_200_000],
  [720, 2_200_000],
  [540, 1_000_000],
  [480, 900_000],
  [360, 600_000],
  [270, 300_000],
  [0, 180_000],
];

/** The largest is the last: browsers expect them so. */
const RIDS = [
  { rid: 'q', scale: 4 },
  { rid: 'h', scale: 2 },
  { rid: 'f', scale: 1 },
];

/** Three temporal layers: a gateway may leave out every other picture, twice. */
const TEMPORAL = 'L1T3';

/** Lines from which on a camera is sent in two, and in three qualities. */
const TWO_FROM = 480;
const THREE_FROM = 720;

/**
 * The encodings of a shot, the smallest first; one without a rid means one quality.
 *
 * A screen has one: half a text cannot be read, and a second picture of full
 * size would double what uplink and computer have to carry. Who has little gets
 * fewer of its pictures instead, by their temporal layers.
 */
export function encodingsFor(shot: Shot): Encoding[] {
  const mode = modeOf(shot);
  const count = countOf(shot);
  if (count === 1) return [{ maxBitrate: oneLimit(shot.content), ...mode }];
  return RIDS.slice(-count).map(({ rid, scale }) => ({
    rid,
    scaleResolutionDownBy: scale,
    maxBitrate: limitOf(shot.lines / scale),
    ...mode,
  }));
}

function countOf({ content, lines, codec, several, scalable }: Shot): number {
  if (!several || content === 'screen' || lines < TWO_FROM) return 1;
  // Of these two browsers send the first encoding only, unless each has a mode.
  if ((codec === 'VP9' || codec === 'AV1') && !scalable) return 1;
  return lines < THREE_FROM ? 2 : 3;
}

function modeOf({ codec, several, scalable }: Shot): Pick<Encoding, 'scalabilityMode'> {
  // Nothing in a packet of H.264 tells its temporal layer, and encoders in
  // hardware do not make them: asking would only cost a slower one.
  return several && scalable && codec !== 'H264' ? { scalabilityMode: TEMPORAL } : {};
}

const oneLimit = (content: Content) => (content === 'screen' ? ONE_SCREEN : ONE_CAMERA);

function limitOf(lines: number): number {
  return LIMITS.find(([from]) => lines >= from)?.[1] ?? 0;
}

/**
 * Fits the parameters of a sender to a shot: after the answer, which may have
 * taken one quality of several, and for a track that takes another's place.
 * accepted: the answer takes several.
 */
export function fit(parameters: RTCRtpSendParameters, shot: Shot, accepted: boolean): void {
  // Faces shall move, letters shall be sharp.
  parameters.degradationPreference =
    shot.content === 'screen' ? 'maintain-resolution' : 'maintain-framerate';
  const encodings = parameters.encodings ?? [];
  const planned = encodingsFor({ ...shot, several: shot.several && accepted });
  const one = planned.length === 1 || encodings.length === 1 || !accepted;
  // Without an accord on several only the first is ever sent.
  const full = accepted ? encodings.at(-1) : encodings[0];
  for (const encoding of encodings) {
    const plan = one ? undefined : planned.find(({ rid }) => rid === encoding.rid);
    encoding.active = one ? encoding === full : plan !== undefined;
    if (!encoding.active) continue;
    encoding.maxBitrate = plan?.maxBitrate ?? oneLimit(shot.content);
    encoding.scaleResolutionDownBy = plan?.scaleResolutionDownBy ?? 1;
  }
}

/** The shorter side of the picture of a track; 720 where the browser does not say. */
export function linesOf(track: MediaStreamTrack): number {
  const { width, height } = track.getSettings();
  return width && height ? Math.min(width, height) : 720;
}

/** Whether this browser knows scalabilityMode: one that does not drops it in silence. */
export function knowsScalability(): boolean {
  if (typeof RTCPeerConnection === 'undefined') return false;
  const pc = new RTCPeerConnection();
  try {
    const encoding: Encoding = { scalabilityMode: 'L1T2' };
    const { sender } = pc.addTransceiver('video', {
      direction: 'sendonly',
      sendEncodings: [encoding],
    });
    const [taken] = sender.getParameters().encodings as Encoding[];
    return taken?.scalabilityMode === 'L1T2';
  } catch {
    return false;
  } finally {
    pc.close();
  }
}

/** Why several qualities are not the default here. */
export type Scarce = 'computer' | 'network';

/** The part of Navigator that tells of scarcity; few browsers have all of it. */
export interface Means {
  hardwareConcurrency?: number;
  connection?: { saveData?: boolean; effectiveType?: string };
}

/**
 * What there is too little of for several qualities: undefined when nothing is
 * known to be. Only a third more is computed than for one, so that all but the
 * smallest computers can. What browsers guess of a network is often wrong and never
 * about its way up: only the slowest are believed, the rest shows in class.
 */
export function scarceOf({ hardwareConcurrency, connection }: Means): Scarce | undefined {
  if (hardwareConcurrency !== undefined && hardwareConcurrency < 2) return 'computer';
  const slow = ['slow-2g', '2g'].includes(connection?.effectiveType ?? '');
  return slow || connection?.saveData ? 'network' : undefined;
}

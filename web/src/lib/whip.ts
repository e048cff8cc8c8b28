import {
  type Content,
  type Encoding,
  type Shot,
  encodingsFor,
  fit,
  knowsScalability,
  linesOf,
} from './encodings.ts';
import { Link, type LinkOptions, type Pulse, endpointOf } from './link.ts';
import type { PeerSession } from './session.ts';
import { pathBytes, reports } from './stats.ts';
import { type Uplink, UplinkMeter } from './uplink.ts';

/** A codec that the teacher may ask for; auto leaves the choice to the browser. */
export type CodecChoice = 'auto' | 'VP8' | 'VP9' | 'AV1' | 'H264';

export interface PublisherOptions {
  room: string;
  slot?: string;
  credential: string;
  /** What to send; at most one of each kind. */
  tracks: MediaStreamTrack[];
  codec?: CodecChoice;
  /** Send a camera in several qualities, where browser and server can. */
  several?: boolean;
  /** What a track of the picture shows; a camera if nobody says. */
  content?: (track: MediaStreamTrack) => Content;
  channels?: boolean;
  /** Take the stream even from somebody else who is on air in it. Needs the right to lead. */
  takeOver?: boolean;
  link?: Partial<LinkOptions>;
}

/**
 * Chromium begins at 300 kbit/s, and then takes some 20 s to show a camera in full size.
 * Congestion control lowers it within a second where this is too much.
 */
const START_KBPS = 1500;

/** Publishes one stream by WHIP and keeps it on air until closed. */
export class Publisher extends Link {
  readonly #tracks: Map<string, MediaStreamTrack>;
  readonly #wish: Wish;
  #meter = new UplinkMeter();

  constructor(options: PublisherOptions) {
    const tracks = new Map(options.tracks.map((track) => [track.kind, track]));
    const endpoint = endpointOf('whip', options.room, options.slot ?? 'main');
    const wish: Wish = {
      codec: options.codec ?? 'auto',
      several: options.several ?? false,
      content: options.content ?? (() => 'camera'),
      scalable: knowsScalability(),
    };
    let takeOver = options.takeOver ?? false;
    super({
      session: () => ({
        endpoint: takeOver ? `${endpoint}?takeover=1` : endpoint,
        credential: options.credential,
        channels: options.channels ?? false,
        prepare: (pc) => addTracks(pc, tracks, wish),
        tune: (sdp) => withStartBitrate(sdp, START_KBPS),
        answered: (pc) => fitVideo(pc, wish),
      }),
      // An end that is told ends the class; a new session takes the slot over anyway.
      tell: false,
      ...options.link,
    });
    this.#tracks = tracks;
    this.#wish = wish;
    this.on('session', () => (this.#meter = new UplinkMeter()));
    // Once: what is taken later is taken from us on purpose.
    this.on('state', ({ phase }) => (takeOver &&= phase === 'connecting'));
  }

  /** Sends track in the place of the one of its kind, now and after a reconnect. */
  async replaceTrack(track: MediaStreamTrack): Promise<void> {
    this.#tracks.set(track.kind, track);
    const senders = this.session?.pc.getSenders() ?? [];
    const sender = senders.find((s) => s.track?.kind === track.kind);
    if (sender) {
      await sender.replaceTrack(track);
      if (track.kind === 'video' && this.session) await fitVideo(this.session.pc, this.#wish);
    }
    // The session was offered without this kind.
    else if (this.session?.connected) this.renew();
  }

  /** How well the upload goes; undefined while not connected. */
  async uplink(): Promise<Uplink | undefined> {
    if (!this.session?.connected) return undefined;
    const { pc } = this.session;
    const idle = videoSender(pc)
      ?.getParameters()
      .encodings.filter(({ active }) => active === false)
      .map(({ rid }) => rid ?? '');
    return this.#meter.read(await reports(pc), Date.now(), idle);
  }

  protected override async pulse(session: PeerSession): Promise<Pulse> {
    // The server's reports on what it receives are the sign of its life.
    const bytes = pathBytes((await reports(session.pc)).values());
    return { bytes: bytes ?? 0, expected: bytes !== undefined, visible: false };
  }
}

/** Puts Chromium's own parameter for the first bitrate into an answer; others ignore it. */
export function withStartBitrate(sdp: string, kbps: number): string {
  const parameter = `x-google-start-bitrate=${kbps}`;
  const lines = sdp.split('\r\n');
  const video = new Set(
    lines.flatMap((line) => /^a=rtpmap:(\d+) (?:VP8|VP9|AV1|H264)\//.exec(line)?.[1] ?? []),
  );
  return lines
    .flatMap((line) => {
      const map = /^a=rtpmap:(\d+) /.exec(line);
      const has = (type: string) => lines.some((l) => l.startsWith(`a=fmtp:${type} `));
      if (map?.[1] && video.has(map[1]) && !has(map[1])) {
        return [line, `a=fmtp:${map[1]} ${parameter}`];
      }
      const fmtp = /^a=fmtp:(\d+) /.exec(line);
      return [fmtp?.[1] && video.has(fmtp[1]) ? `${line};${parameter}` : line];
    })
    .join('\r\n');
}

/** What is wished of the picture, whichever track it comes from. */
interface Wish extends Omit<Shot, 'content' | 'lines'> {
  content: (track: MediaStreamTrack) => Content;
}

const shotOf = (track: MediaStreamTrack, wish: Wish): Shot => ({
  ...wish,
  content: wish.content(track),
  lines: linesOf(track),
});

function addTracks(pc: RTCPeerConnection, tracks: Map<string, MediaStreamTrack>, wish: Wish): void {
  for (const track of tracks.values()) {
    const transceiver =
      track.kind === 'video' ? addVideo(pc, track, wish) : pc.addTransceiver(track, sending([{}]));
    if (track.kind === 'video') preferCodec(transceiver, wish.codec);
  }
}

const sending = (sendEncodings: Encoding[]): RTCRtpTransceiverInit => ({
  direction: 'sendonly',
  sendEncodings,
});

/** Adds the picture in as many qualities as the browser takes. */
function addVideo(pc: RTCPeerConnection, track: MediaStreamTrack, wish: Wish): RTCRtpTransceiver {
  const shot = shotOf(track, wish);
  const last = encodingsFor({ ...shot, several: false });
  for (const encodings of [encodingsFor(shot), encodingsFor({ ...shot, scalable: false })]) {
    try {
      return pc.addTransceiver(track, sending(encodings));
    } catch {
      // An engine that does not know one of the parameters.
    }
  }
  return pc.addTransceiver(track, sending(last));
}

const videoSender = (pc: RTCPeerConnection) =>
  pc.getSenders().find(({ track }) => track?.kind === 'video');

/** Fits the sender to what it sends, and to what the answer took. Never rejects. */
async function fitVideo(pc: RTCPeerConnection, wish: Wish): Promise<void> {
  const sender = videoSender(pc);
  if (!sender?.track) return;
  const accepted = /^a=simulcast:/m.test(pc.remoteDescription?.sdp ?? '');
  try {
    const parameters = sender.getParameters();
    fit(parameters, shotOf(sender.track, wish), accepted);
    await sender.setParameters(parameters);
  } catch {
    // As it was offered, then: the picture goes out all the same.
  }
}

/** Puts the codec in front of the others, where the browser can choose at all. */
function preferCodec(transceiver: RTCRtpTransceiver, choice: CodecChoice): void {
  if (choice === 'auto' || typeof RTCRtpReceiver === 'undefined') return;
  const all = RTCRtpReceiver.getCapabilities('video')?.codecs ?? [];
  const wanted = `video/${choice}`.toLowerCase();
  const first = all.filter((codec) => codec.mimeType.toLowerCase() === wanted);
  if (first.length === 0) return;
  try {
    transceiver.setCodecPreferences([...first, ...all.filter((codec) => !first.includes(codec))]);
  } catch {
    // The browser will not: its own order is as good as any.
  }
}

/** The codecs that this browser can send, of those on offer. */
export function sendableCodecs(): CodecChoice[] {
  if (typeof RTCRtpSender === 'undefined') return ['auto'];
  const known = new Set(
    RTCRtpSender.getCapabilities('video')?.codecs.map((codec) => codec.mimeType.toLowerCase()),
  );
  const all: CodecChoice[] = ['H264', 'VP8', 'VP9', 'AV1'];
  return ['auto', ...all.filter((codec) => known.has(`video/${codec}`.toLowerCase()))];
}

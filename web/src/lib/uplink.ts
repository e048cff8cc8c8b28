// How well an upload goes, for words.
import { type Report, selectedPair } from './stats.ts';
import { Steady } from './steady.ts';

/**
 * measuring: the browser is still finding out how much goes through.
 * Of several qualities: all go out, fewer but not only the smallest, small: only that one.
 * Of one: good, or lowered: it is smaller than it could be.
 * Of both: lossy: parts are lost; busy: the computer cannot keep up.
 */
export type UplinkState =
  'measuring' | 'all' | 'fewer' | 'small' | 'good' | 'lowered' | 'lossy' | 'busy';

/** One quality of the picture. */
export interface Sent {
  rid: string;
  /** The shorter side, pixels; 0: nothing of it was sent yet. */
  lines: number;
  /** Pictures a second. */
  rate: number;
  /** Bits per second. */
  bitrate: number;
  /** Pictures of it go out. */
  flows: boolean;
}

export interface Uplink {
  state: UplinkState;
  /** Lines of the largest picture that goes out; 0 when none does. */
  lines: number;
  /** Bits per second since the last call, all together. */
  bitrate: number;
  codec: string;
  /** The largest first; one when there is one quality, none when there is no picture. */
  sent: Sent[];
  /** Bits per second that the path is thought to carry; 0: not known. */
  available: number;
  /** Share of packets that the server misses, 0 to 1. */
  lost: number;
  /** Milliseconds there and back; 0: not known. */
  roundTrip: number;
}

/** How long a browser may take to find its bitrate, ms. */
const RAMP = 20_000;
/** How long a weakness, and how long its end must last before it is told, ms. */
const WORSE = 6000;
const BETTER = 4000;
const LOSSY = 0.05;

const well = (state: UplinkState) => state === 'all' || state === 'good';

interface Count {
  bytes: number;
  frames: number;
}

/** Turns the reports of a publisher into an Uplink; keeps what it needs of the last call. */
export class UplinkMeter {
  readonly #counts = new Map<string, Count>();
  readonly #steady = new Steady<UplinkState>('measuring', (from, to) => {
    if (from === 'measuring') return well(to) ? 0 : WORSE;
    return well(to) ? BETTER : WORSE;
  });
  #at = 0;
  #beganAt = 0;

  /** idle: rids that are not meant to be sent. */
  read(all: Map<string, Report>, now: number, idle: string[] = []): Uplink {
    const seconds = this.#at ? (now - this.#at) / 1000 : 0;
    this.#at = now;
    this.#beganAt ||= now;
    const sent: Sent[] = [];
    let bitrate = 0;
    let lost = 0;
    let roundTrip = 0;
    let codec = '';
    const limits = new Set<string>();
    for (const [id, r] of all) {
      if (r.type === 'remote-inbound-rtp') {
        lost = Math.max(lost, r.fractionLost ?? 0);
        roundTrip = Math.max(roundTrip, r.roundTripTime ?? 0);
      }
      if (r.type !== 'outbound-rtp') continue;
      const one = this.#count(id, r, seconds);
      bitrate += one.bitrate;
      // Browsers feel for more room by sending the smallest quality again, and again.
      one.bitrate = Math.min(one.bitrate, r.targetBitrate ?? Infinity);
      if (r.kind !== 'video' || idle.includes(one.rid)) continue;
      sent.push(one);
      limits.add(r.qualityLimitationReason ?? '');
      codec = (r.codecId && all.get(r.codecId)?.mimeType?.replace(/^video\//i, '')) || codec;
    }
    sent.sort((a, b) => b.lines - a.lines);
    const seen = lost > LOSSY ? 'lossy' : judge(sent, limits);
    const lines = sent.find(({ flows }) => flows)?.lines ?? 0;
    return {
      state: this.#settle(seen, now),
      lines,
      bitrate,
      codec,
      sent,
      available: selectedPair(all)?.availableOutgoingBitrate ?? 0,
      lost,
      roundTrip: Math.round(roundTrip * 1000),
    };
  }

  #count(id: string, r: Report, seconds: number): Sent {
    const before = this.#counts.get(id) ?? { bytes: 0, frames: 0 };
    const bytes = r.bytesSent ?? 0;
    const frames = r.framesSent ?? r.framesEncoded;
    this.#counts.set(id, { bytes, frames: frames ?? 0 });
    const more = Math.max(0, bytes - before.bytes);
    const pictures = (frames ?? 0) - before.frames;
    return {
      rid: r.rid ?? '',
      lines: Math.min(r.frameWidth ?? Infinity, r.frameHeight ?? 0),
      rate: seconds > 0 ? Math.round(Math.max(0, pictures) / seconds) : 0,
      bitrate: seconds > 0 ? (more * 8) / seconds : 0,
      flows: frames === undefined ? more > 0 : pictures > 0,
    };
  }

  /** Browsers begin low and climb: what is weak at first is not told. */
  #settle(seen: UplinkState | undefined, now: number): UplinkState {
    const climbing = now - this.#beganAt < RAMP && this.#steady.shown === 'measuring';
    if (climbing && seen && !well(seen)) {
      this.#steady.see('measuring', now);
      return 'measuring';
    }
    return this.#steady.see(seen, now);
  }
}

/** What one look tells; undefined: nothing, e.g. because a camera stands still. */
function judge(sent: Sent[], limits: Set<string>): UplinkState | undefined {
  if (limits.has('cpu')) return 'busy';
  if (sent.length < 2) return limits.has('bandwidth') ? 'lowered' : 'good';
  const flowing = sent.filter(({ flows }) => flows);
  if (flowing.length === 0) return undefined;
  if (flowing.length === sent.length) return 'all';
  // What has not begun has no size yet: by their number, then.
  return flowing.length === 1 ? 'small' : 'fewer';
}

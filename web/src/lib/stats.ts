/** The fields of RTCStats that are looked at; browsers leave many of them out. */
interface Report {
  type: string;
  kind?: string;
  bytesReceived?: number;
  bytesSent?: number;
  nominated?: boolean;
  state?: string;
  frameHeight?: number;
  framesPerSecond?: number;
  qualityLimitationReason?: string;
  fractionLost?: number;
  roundTripTime?: number;
  codecId?: string;
  mimeType?: string;
  active?: boolean;
  selected?: boolean;
  selectedCandidatePairId?: string;
  localCandidateId?: string;
  remoteCandidateId?: string;
  candidateType?: string;
  protocol?: string;
  relayProtocol?: string;
  url?: string;
  currentRoundTripTime?: number;
}

/** All reports of a peer connection. */
export async function reports(pc: RTCPeerConnection): Promise<Map<string, Report>> {
  const all = new Map<string, Report>();
  (await pc.getStats()).forEach((value: unknown, key: string) => all.set(key, value as Report));
  return all;
}

/** Bytes of media that came in so far. */
export function mediaBytes(all: Iterable<Report>): number {
  let bytes = 0;
  for (const r of all) if (r.type === 'inbound-rtp') bytes += r.bytesReceived ?? 0;
  return bytes;
}

/**
 * Bytes of anything that came in so far (feedback of the other side counts):
 * undefined where the browser does not say.
 */
export function pathBytes(all: Iterable<Report>): number | undefined {
  let bytes: number | undefined;
  for (const r of all) {
    if (r.type !== 'candidate-pair' || r.bytesReceived === undefined) continue;
    bytes = (bytes ?? 0) + r.bytesReceived;
  }
  return bytes;
}

/** The way that media takes between this machine and the server. */
export interface Path {
  /** relay: through a TURN server. */
  kind: 'udp' | 'tcp' | 'relay';
  /** How a relay is reached; undefined where the browser does not say, or there is none. */
  relay?: 'udp' | 'tcp' | 'tls';
  /** Milliseconds there and back; undefined where the browser does not say. */
  roundTrip?: number;
}

/** The path in use; undefined when there is none or the browser does not say. */
export function pathOf(all: Map<string, Report>): Path | undefined {
  const pair = selectedPair(all);
  const local = all.get(pair?.localCandidateId ?? '');
  if (!pair || !local) return undefined;
  const seconds = pair.currentRoundTripTime;
  const path: Path = { kind: local.protocol === 'tcp' ? 'tcp' : 'udp' };
  if (seconds !== undefined) path.roundTrip = Math.max(1, Math.round(seconds * 1000));
  if (local.candidateType !== 'relay') return path;
  path.kind = 'relay';
  const relay = relayOf(local);
  if (relay) path.relay = relay;
  return path;
}

/** Browsers say in three ways which pair is in use. */
function selectedPair(all: Map<string, Report>): Report | undefined {
  const list = [...all.values()];
  const transport = list.find((r) => r.type === 'transport' && r.selectedCandidatePairId);
  const pairs = list.filter((r) => r.type === 'candidate-pair');
  return (
    all.get(transport?.selectedCandidatePairId ?? '') ??
    pairs.find((r) => r.selected) ??
    pairs.find((r) => r.nominated && r.state === 'succeeded')
  );
}

function relayOf({ relayProtocol, url }: Report): Path['relay'] {
  if (relayProtocol === 'udp' || relayProtocol === 'tcp' || relayProtocol === 'tls') {
    return relayProtocol;
  }
  if (url?.startsWith('turns:')) return 'tls';
  return /[?&]transport=(udp|tcp)/.exec(url ?? '')?.[1] as 'udp' | 'tcp' | undefined;
}

/** How well an upload goes, for words. */
export interface Uplink {
  /** measuring: the browser is still finding out how much goes through. */
  quality: 'measuring' | 'good' | 'lowered' | 'lossy';
  /** Height of the picture that is sent; 0 when none is. */
  height: number;
  /** Bits per second since the last call. */
  bitrate: number;
  codec: string;
}

/** How long a browser may take to find its bitrate, and how long a weakness must last, in ms. */
const RAMP = 20_000;
const LASTS = 6000;

/** Turns the reports of a publisher into an Uplink; keeps what it needs of the last call. */
export class UplinkMeter {
  #bytes = 0;
  #at = 0;
  #beganAt = 0;
  #weakSince = 0;

  read(all: Map<string, Report>, now: number): Uplink {
    let bytes = 0;
    let height = 0;
    let lost = 0;
    let limited = false;
    let codec = '';
    for (const r of all.values()) {
      if (r.type === 'remote-inbound-rtp') lost = Math.max(lost, r.fractionLost ?? 0);
      if (r.type !== 'outbound-rtp') continue;
      bytes += r.bytesSent ?? 0;
      if (r.kind !== 'video') continue;
      height = Math.max(height, r.frameHeight ?? 0);
      limited ||= r.qualityLimitationReason === 'bandwidth';
      codec = (r.codecId && all.get(r.codecId)?.mimeType?.replace(/^video\//i, '')) || codec;
    }
    const seconds = (now - this.#at) / 1000;
    const bitrate = this.#at && seconds > 0 ? ((bytes - this.#bytes) * 8) / seconds : 0;
    this.#bytes = bytes;
    this.#at = now;
    const quality = this.#judge(now, lost > 0.05, limited);
    return { quality, height, bitrate: Math.max(0, bitrate), codec };
  }

  /** Browsers begin low and climb, and any uplink is short for a moment: only what lasts counts. */
  #judge(now: number, lossy: boolean, limited: boolean): Uplink['quality'] {
    this.#beganAt ||= now;
    if (!lossy && !limited) this.#weakSince = 0;
    else this.#weakSince ||= now;
    if (this.#weakSince === 0) return 'good';
    if (now - this.#beganAt < RAMP) return 'measuring';
    if (now - this.#weakSince < LASTS) return 'good';
    return lossy ? 'lossy' : 'lowered';
  }
}

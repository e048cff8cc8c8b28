/** The fields of RTCStats that are looked at; browsers leave many of them out. */
export interface Report {
  type: string;
  kind?: string;
  bytesReceived?: number;
  bytesSent?: number;
  nominated?: boolean;
  state?: string;
  frameHeight?: number;
  frameWidth?: number;
  framesPerSecond?: number;
  targetBitrate?: number;
  framesSent?: number;
  framesEncoded?: number;
  rid?: string;
  scalabilityMode?: string;
  availableOutgoingBitrate?: number;
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

/** Lines of the picture that comes in now; 0 while none does. */
export function linesReceived(all: Iterable<Report>): number {
  let lines = 0;
  for (const r of all) {
    if (r.type !== 'inbound-rtp' || r.kind !== 'video') continue;
    lines = Math.max(lines, Math.min(r.frameWidth ?? Infinity, r.frameHeight ?? 0));
  }
  return lines;
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
export function selectedPair(all: Map<string, Report>): Report | undefined {
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

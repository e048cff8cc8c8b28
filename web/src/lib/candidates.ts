/** One ICE candidate as people compare them. */
export interface CandidateWords {
  network: 'udp' | 'tcp';
  /** Address and port; what the browser hides is hidden.local. */
  address: string;
  /** host, srflx, prflx, relay. */
  type: string;
}

/** Reads the value of one candidate attribute; undefined for what is none. */
export function parseCandidate(line: string): CandidateWords | undefined {
  const [foundation, , network, , host, port, typ, type] = line
    .replace(/^a=/, '')
    .trim()
    .split(/\s+/);
  if (!foundation?.startsWith('candidate:') || typ !== 'typ' || !host || !port || !type) {
    return undefined;
  }
  const kind = network?.toLowerCase();
  if (kind !== 'udp' && kind !== 'tcp') return undefined;
  const shown = host.endsWith('.local') ? 'hidden.local' : host;
  const address = shown.includes(':') ? `[${shown}]:${port}` : `${shown}:${port}`;
  return { network: kind, address, type };
}

/** The candidates of a description, each once, as "udp 192.0.2.1:8189 host". */
export function candidatesOf(sdp: string): string[] {
  const found = sdp
    .split(/\r?\n/)
    .filter((line) => line.startsWith('a=candidate:'))
    .flatMap((line) => parseCandidate(line) ?? []);
  return [...new Set(found.map((c) => `${c.network} ${c.address} ${c.type}`))];
}

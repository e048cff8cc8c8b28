// SDP fragments of WHIP and WHEP: trickled candidates and ICE restarts
// (RFC 8840; RFC 9725, sections 4.3.1 to 4.3.3).

/** The media type of a fragment. */
export const FRAGMENT_TYPE = 'application/trickle-ice-sdpfrag';

const lines = (sdp: string) => sdp.split(/\r?\n/).filter((line) => line !== '');

/**
 * The fragment of a local description: its ICE credentials and the candidates
 * of its first m-section, which is the only transport of a bundle.
 */
export function fragmentOf(sdp: string): string {
  const out: string[] = [];
  let section = -1;
  let sawUfrag = false;
  for (const line of lines(sdp)) {
    if (line.startsWith('m=')) section++;
    if (section > 0) break;
    const keep =
      section < 0
        ? /^a=(group:BUNDLE|ice-options:|ice-ufrag:|ice-pwd:)/.test(line)
        : /^(m=|a=(mid:|ice-ufrag:|ice-pwd:|candidate:|end-of-candidates))/.test(line);
    if (!keep) continue;
    if (line.startsWith('a=ice-ufrag:')) sawUfrag = true;
    out.push(line);
  }
  if (!sawUfrag) throw new TypeError('the description has no ICE credentials');
  return out.join('\r\n') + '\r\n';
}

/**
 * The fragment that tells of candidates found after the description sdp was
 * sent. last: there will be no more.
 */
export function trickleOf(sdp: string, candidates: string[], last: boolean): string {
  const head = lines(fragmentOf(sdp)).filter(
    (line) => !/^a=(candidate:|end-of-candidates|ice-options:)/.test(line),
  );
  const found = candidates.map((candidate) => `a=${candidate}`);
  return [...head, ...found, ...(last ? ['a=end-of-candidates'] : [])].join('\r\n') + '\r\n';
}

/**
 * Puts the ICE credentials and candidates of a fragment in the place of those
 * of a remote description, whose other lines stay.
 */
export function withFragment(sdp: string, fragment: string): string {
  const given = lines(fragment);
  const ufrag = given.find((line) => line.startsWith('a=ice-ufrag:'));
  const pwd = given.find((line) => line.startsWith('a=ice-pwd:'));
  if (!ufrag || !pwd) throw new TypeError('the fragment has no ICE credentials');
  const candidates = given.filter((line) => /^a=(candidate:|end-of-candidates)/.test(line));

  const out: string[] = [];
  let section = -1;
  const closeSection = () => {
    if (section === 0) out.push(...candidates);
  };
  for (const line of lines(sdp)) {
    if (line.startsWith('m=')) {
      closeSection();
      section++;
    }
    if (/^a=(candidate:|end-of-candidates)/.test(line)) continue;
    if (line.startsWith('a=ice-ufrag:')) out.push(ufrag);
    else if (line.startsWith('a=ice-pwd:')) out.push(pwd);
    else out.push(line);
  }
  closeSection();
  return out.join('\r\n') + '\r\n';
}

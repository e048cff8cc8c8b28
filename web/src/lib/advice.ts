import type { BrowserFacts } from './browserfacts.ts';
import type { PathName, PathResult } from './diagnose.ts';

/** What the results of all tests come to. */
export type Verdict = 'testing' | 'good' | 'tcp' | 'relay' | 'blocked' | 'away' | 'unsupported';

/** One piece of advice; each has a sentence in every language. */
export type Advice =
  | 'udp_blocked'
  | 'relay_only'
  | 'tls_only'
  | 'nothing_through'
  | 'ask_for_turn'
  | 'only_private'
  | 'insecure'
  | 'camera_denied'
  | 'microphone_denied'
  | 'few_formats'
  | 'server_away'
  | 'no_webrtc';

const works = (results: PathResult[]) =>
  new Set<PathName>(results.filter((r) => r.outcome === 'works').map((r) => r.path));

/** Whether some path is still to be tested. */
export const busy = (results: PathResult[]) =>
  results.length === 0 || results.some((r) => r.outcome === 'waiting' || r.outcome === 'testing');

/** In one word. away: the server did not even answer the first question. */
export function verdictOf(
  results: PathResult[],
  facts: BrowserFacts | undefined,
  away: boolean,
): Verdict {
  if (facts && !facts.webrtc) return 'unsupported';
  if (away) return 'away';
  const open = works(results);
  if (open.has('udp')) return 'good';
  if (busy(results)) return 'testing';
  if (open.has('tcp')) return 'tcp';
  return open.size > 0 ? 'relay' : 'blocked';
}

/** What to do about it, the most important first. notes: what the server noted, by code. */
export function adviceOf(
  results: PathResult[],
  facts: BrowserFacts | undefined,
  away: boolean,
  notes: string[] = [],
): Advice[] {
  const all: Advice[] = [];
  const verdict = verdictOf(results, facts, away);
  const open = works(results);
  if (verdict === 'unsupported') all.push('no_webrtc');
  if (verdict === 'away') all.push('server_away');
  if (verdict === 'tcp') all.push('udp_blocked');
  if (verdict === 'relay') {
    all.push(open.size === 1 && open.has('turn-tls') ? 'tls_only' : 'relay_only');
  }
  if (verdict === 'blocked') {
    if (notes.includes('only_private')) all.push('only_private');
    all.push('nothing_through');
    const relays = results.filter((r) => r.path.startsWith('turn') && r.outcome !== 'off');
    if (relays.length === 0) all.push('ask_for_turn');
  }
  if (!facts?.webrtc) return all;
  if (!facts.secure) all.push('insecure');
  else {
    if (facts.camera === 'denied') all.push('camera_denied');
    if (facts.microphone === 'denied') all.push('microphone_denied');
  }
  if (facts.shows.length < 2) all.push('few_formats');
  return all;
}

export interface ReportInput {
  results: PathResult[];
  facts?: BrowserFacts;
  verdict: Verdict;
  /** The browser's name for itself. */
  agent: string;
  /** Scheme, host and port of the server; nothing behind them. */
  origin: string;
  /** Our address as the server sees it. */
  address: string;
  /** The server's words. */
  words: string[];
  at: Date;
}

/** All that was found as text for whoever is asked for help; in English, and without secrets. */
export function reportOf(input: ReportInput): string {
  const { results, facts, verdict } = input;
  const lines = [
    `Connection test of ${input.at.toISOString()}: ${verdict}`,
    `Server: ${input.origin}`,
    `Browser: ${input.agent}`,
  ];
  if (input.address) lines.push(`Address as the server sees it: ${input.address}`);
  for (const result of results) {
    lines.push('', `${result.path}: ${outcomeOf(result)}`);
    for (const candidate of result.server) lines.push(`  server:  ${candidate}`);
    for (const candidate of result.browser) lines.push(`  browser: ${candidate}`);
  }
  if (facts) {
    lines.push(
      '',
      `Secure page: ${facts.secure ? 'yes' : 'no'}`,
      `Camera: ${facts.camera}`,
      `Microphone: ${facts.microphone}`,
      `Sends: ${facts.sends.join(', ') || 'none'}`,
      `Shows: ${facts.shows.join(', ') || 'none'}`,
    );
  }
  if (input.words.length > 0) lines.push('', ...input.words);
  return lines.join('\n') + '\n';
}

function outcomeOf({ outcome, connectMs, echoMs, problem }: PathResult): string {
  if (outcome === 'works') return `works (connected in ${connectMs} ms, echo in ${echoMs} ms)`;
  if (outcome === 'off') return 'not offered';
  return outcome === 'fails' ? `does not work (${problem?.code ?? 'unknown'})` : outcome;
}

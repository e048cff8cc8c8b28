import { abortReason, pause } from './backoff.ts';
import { candidatesOf } from './candidates.ts';
import { Problem, problemOf, toProblem } from './problem.ts';

/** A way that media may take to the server. */
export type PathName = 'udp' | 'tcp' | 'turn-udp' | 'turn-tcp' | 'turn-tls';

export const PATHS: PathName[] = ['udp', 'tcp', 'turn-udp', 'turn-tcp', 'turn-tls'];

/** What the test of one path found. */
export interface PathResult {
  path: PathName;
  /** off: the server does not offer it. */
  outcome: 'waiting' | 'testing' | 'works' | 'fails' | 'off';
  /** Milliseconds until the path stood. */
  connectMs?: number;
  /** Milliseconds there and back. */
  echoMs?: number;
  /** Candidates of the server, "udp 192.0.2.1:8189 host". */
  server: string[];
  /** Candidates that this browser found. */
  browser: string[];
  problem?: Problem;
}

/** What the server says of itself and of us, without secrets. */
export interface ServerView {
  /** Our address as the server sees it; '': it does not say. */
  address: string;
  /** Addresses where it takes media, by network. */
  udp: string[];
  tcp: string[];
  /** The server's own words, in English, and their codes. */
  words: string[];
  notes: string[];
  /** TURN servers by path. */
  turn: Partial<Record<PathName, RTCIceServer>>;
}

export interface DiagnoseOptions {
  /** Token or key; '': none. */
  credential: string;
  /** The room in whose name it is asked: for rooms that are open to everybody. */
  room?: string;
  /** Replaced in tests. */
  createPeer?: (configuration: RTCConfiguration) => RTCPeerConnection;
  fetch?: typeof fetch;
}

/** Time limits in milliseconds. */
const REQUEST_TIMEOUT = 8000;
const GATHER_TIMEOUT = 5000;
/** The browser's own candidates come one right after the other. */
const GATHER_IDLE = 150;
const CONNECT_TIMEOUT = 10_000;
const ECHO_TIMEOUT = 3000;
const ECHOES = 3;
/** How many paths are tested at once: the server takes few. */
const AT_ONCE = 2;
const MAX_TRIES = 3;

/** Tries out which paths lead from this browser to the server. */
export class Diagnosis {
  readonly #options: DiagnoseOptions;
  readonly #fetch: typeof fetch;

  constructor(options: DiagnoseOptions) {
    this.#options = options;
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
  }

  /** Asks the server what it offers. Rejects with a Problem. */
  async view(signal: AbortSignal): Promise<ServerView> {
    const response = await this.#request('GET', this.#address(), signal);
    if (!response.ok) throw await problemOf(response);
    return viewOf((await response.json()) as unknown);
  }

  /** Tests every path and tells of each step; never rejects but when signal aborts. */
  async run(view: ServerView, tell: (r: PathResult) => void, signal: AbortSignal): Promise<void> {
    const blank = (path: PathName): PathResult => ({
      path,
      outcome: offers(view, path) ? 'waiting' : 'off',
      server: [],
      browser: [],
    });
    const todo = PATHS.map(blank);
    todo.forEach(tell);
    const waiting = todo.filter(({ outcome }) => outcome === 'waiting');
    const worker = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        await this.#test(next, view, tell, signal);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  async #test(
    blank: PathResult,
    view: ServerView,
    tell: (r: PathResult) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const result: PathResult = { ...blank, outcome: 'testing' };
    tell({ ...result });
    try {
      await this.#walk(result, view, signal);
      result.outcome = 'works';
    } catch (err) {
      if (signal.aborted) throw abortReason(signal);
      result.problem = toProblem(err);
      result.outcome = result.problem.code === 'path_off' ? 'off' : 'fails';
    }
    tell({ ...result });
  }

  /** Goes a path to its end and back; fills result on the way. */
  async #walk(result: PathResult, view: ServerView, signal: AbortSignal): Promise<void> {
    const relay = view.turn[result.path];
    const configuration: RTCConfiguration = relay
      ? { iceServers: [relay], iceTransportPolicy: 'relay' }
      : {};
    const make = this.#options.createPeer ?? ((c) => new RTCPeerConnection(c));
    const pc = make(configuration);
    const stop = new AbortController();
    const both = AbortSignal.any([signal, stop.signal]);
    let location = '';
    try {
      const channel = pc.createDataChannel('diagnose');
      await pc.setLocalDescription(await pc.createOffer());
      await gathered(pc, relay !== undefined, both);
      const offer = pc.localDescription?.sdp ?? '';
      result.browser = candidatesOf(offer);
      if (relay && result.browser.length === 0) throw new Problem('no_relay');
      const began = performance.now();
      const answer = await this.#offer(relay ? 'any' : result.path, offer, both);
      location = answer.location;
      result.server = candidatesOf(answer.sdp);
      await pc.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
      await opened(pc, channel, both);
      result.connectMs = Math.max(1, Math.round(performance.now() - began));
      result.echoMs = await echo(channel, both);
    } finally {
      stop.abort();
      pc.close();
      if (location) void this.#request('DELETE', location, signal).catch(() => undefined);
    }
  }

  async #offer(
    path: string,
    body: string,
    signal: AbortSignal,
  ): Promise<{ sdp: string; location: string }> {
    for (let tries = 1; ; tries++) {
      const response = await this.#request('POST', this.#address({ path }), signal, body);
      if (response.status === 201) {
        const location = response.headers.get('Location') ?? '';
        return { sdp: await response.text(), location };
      }
      const problem = await problemOf(response);
      const busy = problem.status === 429 || problem.status === 503;
      if (!busy || tries === MAX_TRIES) throw problem;
      await pause(Math.max(1000, problem.retryAfter), signal);
    }
  }

  #address(query: Record<string, string> = {}): string {
    const { room } = this.#options;
    const all = new URLSearchParams(room ? { ...query, room } : query).toString();
    return `/api/diagnose${all ? `?${all}` : ''}`;
  }

  async #request(
    method: string,
    url: string,
    signal: AbortSignal,
    body?: string,
  ): Promise<Response> {
    const { credential } = this.#options;
    const headers: Record<string, string> = {};
    if (credential) headers['Authorization'] = `Bearer ${credential}`;
    if (body !== undefined) headers['Content-Type'] = 'application/sdp';
    const limit = AbortSignal.timeout(REQUEST_TIMEOUT);
    try {
      return await this.#fetch(url, {
        method,
        headers,
        body: body ?? null,
        cache: 'no-store',
        signal: AbortSignal.any([signal, limit]),
      });
    } catch (err) {
      if (signal.aborted) throw abortReason(signal);
      throw limit.aborted ? new Problem('network', 'no answer in time') : toProblem(err);
    }
  }
}

const offers = (view: ServerView, path: PathName) =>
  path === 'udp' || path === 'tcp' ? view[path].length > 0 : view.turn[path] !== undefined;

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Reads the answer of /api/diagnose; what is missing is not offered. */
export function viewOf(value: unknown): ServerView {
  const body = record(value);
  const addresses = (key: string) => {
    const { addresses: given } = record(body[key]);
    return list(given).map(text).filter(Boolean);
  };
  const view: ServerView = {
    address: text(record(body['client'])['address']),
    udp: addresses('udp'),
    tcp: addresses('tcp'),
    words: list(body['words']).map(text).filter(Boolean),
    notes: list(body['notes'])
      .map((note) => text(record(note)['code']))
      .filter(Boolean),
    turn: {},
  };
  for (const server of list(record(body['turn'])['servers']).map(record)) {
    const url = text(server['url']) || text(server['urls']);
    const path = turnPath(url);
    const [username, credential] = [text(server['username']), text(server['credential'])];
    if (path && username && credential) view.turn[path] ??= { urls: url, username, credential };
  }
  return view;
}

/** Which path a TURN address stands for (RFC 7065). */
export function turnPath(url: string): PathName | undefined {
  if (/^turns:/i.test(url)) return 'turn-tls';
  if (!/^turn:/i.test(url)) return undefined;
  return /[?&]transport=tcp/i.test(url) ? 'turn-tcp' : 'turn-udp';
}

interface Waiting {
  /** Called when the time is over. */
  late: () => void;
  /** Called when the wait is over, whatever its end. */
  off?: () => void;
}

/** Waits until done is called, the time is over or signal aborts. */
function wait(
  signal: AbortSignal,
  ms: number,
  begin: (done: (err?: Problem) => void) => Waiting,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = new AbortController();
    const settle = (err?: Error) => {
      if (end.signal.aborted) return;
      end.abort();
      clearTimeout(timer);
      if (err) reject(err);
      else resolve();
      queueMicrotask(() => waiting.off?.());
    };
    const timer = setTimeout(() => waiting.late(), ms);
    signal.addEventListener('abort', () => settle(abortReason(signal)), { signal: end.signal });
    const waiting = begin(settle);
    if (signal.aborted) settle(abortReason(signal));
  });
}

/** Resolves when the candidates that matter are known, or none will come in time. */
function gathered(pc: RTCPeerConnection, relay: boolean, signal: AbortSignal): Promise<void> {
  return wait(signal, relay ? GATHER_TIMEOUT : 1000, (done) => {
    const off = new AbortController();
    let idle: ReturnType<typeof setTimeout> | undefined;
    const look = () => {
      if (pc.iceGatheringState === 'complete') done();
    };
    pc.addEventListener('icegatheringstatechange', look, { signal: off.signal });
    pc.addEventListener(
      'icecandidate',
      ({ candidate }) => {
        if (!candidate?.candidate) return;
        clearTimeout(idle);
        idle = setTimeout(done, GATHER_IDLE);
      },
      { signal: off.signal },
    );
    look();
    return {
      late: done,
      off: () => {
        off.abort();
        clearTimeout(idle);
      },
    };
  });
}

/** Resolves when the channel is open. */
function opened(pc: RTCPeerConnection, channel: RTCDataChannel, signal: AbortSignal) {
  return wait(signal, CONNECT_TIMEOUT, (done) => {
    const off = new AbortController();
    const fail = () => done(new Problem('no_path'));
    channel.addEventListener('open', () => done(), { signal: off.signal });
    channel.addEventListener('close', fail, { signal: off.signal });
    pc.addEventListener(
      'connectionstatechange',
      () => {
        if (pc.connectionState === 'failed' || pc.connectionState === 'closed') fail();
      },
      { signal: off.signal },
    );
    if (channel.readyState === 'open') done();
    return { late: fail, off: () => off.abort() };
  });
}

/** The shortest of a few ways there and back, in milliseconds. */
async function echo(channel: RTCDataChannel, signal: AbortSignal): Promise<number> {
  let best = Infinity;
  for (let i = 0; i < ECHOES; i++) {
    const began = performance.now();
    await wait(signal, ECHO_TIMEOUT, (done) => {
      const off = new AbortController();
      channel.addEventListener('message', () => done(), { signal: off.signal });
      channel.send(`echo ${i}`);
      return { late: () => done(new Problem('no_echo')), off: () => off.abort() };
    });
    best = Math.min(best, performance.now() - began);
  }
  return Math.max(1, Math.round(best));
}

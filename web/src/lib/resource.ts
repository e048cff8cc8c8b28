import { abortReason } from './backoff.ts';
import { parseLinks } from './iceservers.ts';
import { Problem, problemOf, toProblem } from './problem.ts';
import { FRAGMENT_TYPE } from './sdpfrag.ts';

/** What the server knows about a session. */
export interface Probe {
  state: 'alive' | 'gone' | 'unreachable';
  /** Why it is gone or cannot be reached, where the server says so. */
  problem?: Problem;
}

export interface ResourceOptions {
  /** URL of the WHIP or WHEP endpoint. */
  endpoint: string;
  /** Token or key, sent as Bearer; '': none. */
  credential: string;
  /** Calls off every request but the last. */
  closed: AbortSignal;
  fetch: typeof fetch;
}

/** Time limits in milliseconds. */
const REQUEST_TIMEOUT = 8000;
/** Short: until it is answered nobody knows whether what is shown is true. */
const PROBE_TIMEOUT = 2500;

interface RequestOptions {
  signal: AbortSignal;
  headers?: Record<string, string>;
  body?: string;
  /** Milliseconds; 0: as long as it takes. */
  timeout?: number;
}

/** The HTTP side of one WHIP or WHEP session: its address and the tag of its ICE session. */
export class Resource {
  readonly #options: ResourceOptions;
  #url = '';
  #etag = '';
  #links = '';

  constructor(options: ResourceOptions) {
    this.#options = options;
  }

  /** The address of the session; '' before there is one. */
  get url(): string {
    return this.#url;
  }

  /** Sends the offer; returns the answer and the Link header that came with it. */
  async create(
    offer: string,
    wait: boolean,
    signal: AbortSignal,
  ): Promise<{ answer: string; links: string | null }> {
    const { endpoint } = this.#options;
    const headers: Record<string, string> = { 'Content-Type': 'application/sdp' };
    if (wait) headers['Prefer'] = 'wait';
    const response = await this.#request('POST', endpoint, { signal, headers, body: offer });
    if (response.status !== 201) throw await problemOf(response);
    const location = response.headers.get('Location');
    if (!location) throw new Problem('bad_answer', 'the server named no session', response.status);
    const base = response.url || new URL(endpoint, globalThis.location?.href).href;
    this.#url = new URL(location, base).href;
    this.#etag = response.headers.get('ETag') ?? '';
    const links = response.headers.get('Link');
    this.#links = links ?? '';
    return { answer: await response.text(), links };
  }

  /** The address of an extension that the server announced; '' when it has none of this name. */
  extension(relation: string): string {
    const link = parseLinks(this.#links).find(({ params }) => params.get('rel') === relation);
    return link ? new URL(link.target, this.#url).href : '';
  }

  /** Posts JSON to an address of the session; returns the Location of what was made, or ''. */
  async post(url: string, body: unknown, signal: AbortSignal): Promise<string> {
    const headers = { 'Content-Type': 'application/json' };
    const options = { signal, headers, body: JSON.stringify(body) };
    const response = await this.#request('POST', url, options);
    if (!response.ok) throw await problemOf(response);
    const location = response.headers.get('Location');
    return location ? new URL(location, url).href : '';
  }

  /** Reads an address of the session for as long as it goes on. */
  async read(url: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const headers = { Accept: 'text/event-stream' };
    const response = await this.#request('GET', url, { signal, headers, timeout: 0 });
    if (!response.ok || !response.body) throw await problemOf(response);
    return response.body;
  }

  /** Tells of candidates. Rejects with a Problem. */
  async trickle(fragment: string, signal: AbortSignal): Promise<void> {
    const tag = this.#etag;
    const first = await this.#patch(fragment, tag || '*', signal);
    if (first.status !== 412) return check(first);
    // Our own restart changed the tag meanwhile: then these candidates are of the past.
    if (this.#etag !== tag) return;
    const state = await this.#request('GET', this.#url, { signal });
    if (!state.ok) throw await problemOf(state);
    const now = state.headers.get('ETag') ?? '';
    if (now === '' || now === tag) throw await problemOf(first);
    this.#etag = now;
    return check(await this.#patch(fragment, now, signal));
  }

  /** Restarts ICE; returns the server's fragment. Rejects with a Problem. */
  async restart(fragment: string, signal: AbortSignal): Promise<string> {
    if (!this.#url) throw new Problem('gone', 'no session', 404);
    const response = await this.#patch(fragment, '*', signal);
    if (response.status !== 200) throw await problemOf(response);
    this.#etag = response.headers.get('ETag') ?? '';
    return response.text();
  }

  /** Asks whether the server still has the session, and why if it has not. */
  async probe(signal: AbortSignal): Promise<Probe> {
    if (!this.#url) return { state: 'gone' };
    try {
      const response = await this.#request('GET', this.#url, { signal, timeout: PROBE_TIMEOUT });
      if (response.ok) return { state: 'alive' };
      const problem = await problemOf(response);
      if (problem.status >= 500 || problem.status === 429) return { state: 'unreachable', problem };
      return { state: 'gone', problem: endOf(problem) };
    } catch (err) {
      if (signal.aborted) throw err;
      return { state: 'unreachable', problem: toProblem(err) };
    }
  }

  /** Ends the session at the server; never rejects. */
  async remove(): Promise<void> {
    if (!this.#url) return;
    try {
      // keepalive: also when the page is being left.
      await this.#options.fetch(this.#url, {
        method: 'DELETE',
        headers: this.#authorised(),
        keepalive: true,
      });
    } catch {
      // The server finds out by itself: consent ends (RFC 7675).
    }
  }

  #patch(fragment: string, tag: string, signal: AbortSignal): Promise<Response> {
    const headers = { 'Content-Type': FRAGMENT_TYPE, 'If-Match': tag };
    return this.#request('PATCH', this.#url, { signal, headers, body: fragment });
  }

  #authorised(headers: Record<string, string> = {}): Record<string, string> {
    const { credential } = this.#options;
    return credential ? { ...headers, Authorization: `Bearer ${credential}` } : headers;
  }

  async #request(method: string, url: string, options: RequestOptions): Promise<Response> {
    const { signal, headers, body, timeout } = options;
    const limit =
      timeout === 0
        ? new AbortController().signal
        : AbortSignal.timeout(timeout ?? REQUEST_TIMEOUT);
    try {
      return await this.#options.fetch(url, {
        method,
        headers: this.#authorised(headers),
        body: body ?? null,
        cache: 'no-store',
        signal: AbortSignal.any([signal, this.#options.closed, limit]),
      });
    } catch (err) {
      if (signal.aborted) throw abortReason(signal);
      throw limit.aborted ? new Problem('network', 'no answer in time') : toProblem(err);
    }
  }
}

async function check(response: Response): Promise<void> {
  if (!response.ok) throw await problemOf(response);
}

/**
 * The end of a session as the page must take it: final where somebody wanted it
 * so, else a new session is what helps.
 */
export function endOf(problem: Problem): Problem | undefined {
  if (problem.status === 401 || problem.status === 403) return problem;
  switch (problem.reason) {
    case 'token_expired':
    case 'token_revoked':
    case 'room_closed':
    case 'taken_over':
      return new Problem(problem.reason, problem.message, problem.status);
    // Not by us: who deletes a session of theirs does not ask for it afterwards.
    case 'deleted':
      return new Problem('removed', problem.message, problem.status);
    case 'shutdown':
      return new Problem('shutting_down', problem.message);
    default:
      return undefined;
  }
}

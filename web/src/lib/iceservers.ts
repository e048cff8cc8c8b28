// The ICE servers that a server offers in Link headers (RFC 8288; RFC 9725, section 4.6).

/** One value of a Link header: where to, and its parameters by lower-case name. */
export interface HeaderLink {
  target: string;
  params: Map<string, string>;
}

/**
 * Reads the values of a Link header, also of several headers joined by commas.
 * What cannot be read is left out, and the rest is used.
 */
export function parseLinks(header: string | null): HeaderLink[] {
  const links: HeaderLink[] = [];
  const reader = new Reader(header ?? '');
  while (!reader.done) {
    const link = reader.link();
    if (link) links.push(link);
    reader.skipPast(',');
  }
  return links;
}

/** The ICE servers among the links of a header. */
export function parseIceServers(header: string | null): RTCIceServer[] {
  return parseLinks(header).flatMap(({ target, params }) => {
    const relations = (params.get('rel') ?? '').toLowerCase().split(/\s+/);
    if (!relations.includes('ice-server')) return [];
    if (/^stuns?:[^\s]+$/i.test(target)) return [{ urls: target }];
    const [username, credential] = [params.get('username'), params.get('credential')];
    // Browsers refuse the whole list for one TURN server without credentials.
    if (!/^turns?:[^\s]+$/i.test(target) || !username || !credential) return [];
    return [{ urls: target, username, credential }];
  });
}

/** Reads a header from the left. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get done(): boolean {
    return this.#at >= this.#text.length;
  }

  /** <target>; name=value; name="value"; name */
  link(): HeaderLink | undefined {
    this.#space();
    if (this.#text[this.#at] !== '<') return undefined;
    const end = this.#text.indexOf('>', this.#at);
    if (end < 0) {
      this.#at = this.#text.length;
      return undefined;
    }
    const target = this.#text.slice(this.#at + 1, end).trim();
    this.#at = end + 1;
    const params = new Map<string, string>();
    for (this.#space(); this.#text[this.#at] === ';'; this.#space()) {
      this.#at++;
      this.#space();
      const name = this.#token().toLowerCase();
      this.#space();
      let value = '';
      if (this.#text[this.#at] === '=') {
        this.#at++;
        this.#space();
        value = this.#text[this.#at] === '"' ? this.#quoted() : this.#token();
      }
      // The first of a name counts (RFC 8288, section 3).
      if (name && !params.has(name)) params.set(name, value);
    }
    return { target, params };
  }

  /** Goes behind the next sign that is not inside quotes, or to the end. */
  skipPast(sign: string): void {
    while (!this.done && this.#text[this.#at] !== sign) {
      if (this.#text[this.#at] === '"') this.#quoted();
      else this.#at++;
    }
    this.#at++;
  }

  #space(): void {
    while (/\s/.test(this.#text[this.#at] ?? '')) this.#at++;
  }

  #token(): string {
    const from = this.#at;
    while (!this.done && !/[\s;,="]/.test(this.#text[this.#at] ?? '')) this.#at++;
    // Unquoted values of base64 end in signs of equality.
    while (from < this.#at && this.#text[this.#at] === '=' && this.#ends(this.#at)) this.#at++;
    return this.#text.slice(from, this.#at);
  }

  /** Whether nothing but signs of equality is left of this value. */
  #ends(at: number): boolean {
    return /^=+\s*([;,]|$)/.test(this.#text.slice(at));
  }

  #quoted(): string {
    let value = '';
    for (this.#at++; !this.done; this.#at++) {
      const sign = this.#text[this.#at] ?? '';
      if (sign === '"') break;
      value += sign === '\\' ? (this.#text[++this.#at] ?? '') : sign;
    }
    this.#at++;
    return value;
  }
}

export interface IceServersOptions {
  /** URL of the WHIP or WHEP endpoint. */
  endpoint: string;
  credential: string;
  /** Replaced in tests. */
  fetch?: typeof fetch;
  now?: () => number;
}

/** Credentials of TURN servers are short-lived: what is older is asked for anew, ms. */
const FRESH = 4 * 60_000;
/** A connection does not wait longer than this to learn of servers, ms. */
const PATIENCE = 1000;
const REQUEST_TIMEOUT = 8000;

/**
 * Asks an endpoint for its ICE servers and remembers them while their
 * credentials are fresh. Never rejects: without an answer there are none.
 */
export class IceServers {
  readonly #options: IceServersOptions;
  readonly #now: () => number;
  #known: RTCIceServer[] | undefined;
  #at = 0;
  #asking: Promise<void> | undefined;

  constructor(options: IceServersOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /**
   * The servers: at once when they are known, else within a second. An answer
   * that is later than that serves the next caller.
   */
  async get(): Promise<RTCIceServer[]> {
    if (this.#known && this.#now() - this.#at < FRESH) return this.#known;
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined));
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, PATIENCE)));
    await Promise.race([this.#asking, late]);
    clearTimeout(timer);
    return this.#known ?? [];
  }

  /** Takes the servers of an answer that brought some unasked. */
  note(header: string | null): void {
    const servers = parseIceServers(header);
    if (servers.length === 0) return;
    this.#known = servers;
    this.#at = this.#now();
  }

  async #ask(): Promise<void> {
    const { endpoint, credential } = this.#options;
    const ask = this.#options.fetch ?? ((input, init) => fetch(input, init));
    try {
      const response = await ask(endpoint, {
        method: 'OPTIONS',
        headers: credential ? { Authorization: `Bearer ${credential}` } : {},
        cache: 'no-store',
        signal: AbortSignal.timeout(REQUEST_TIMEOUT),
      });
      if (!response.ok) return;
      this.#known = parseIceServers(response.headers.get('Link'));
      this.#at = this.#now();
    } catch {
      // The offer goes out all the same; its answer tells what is wrong.
    }
  }
}

/** Codes after which a page must not come back by itself: somebody wants it so. */
const ENDS = new Set(['token_expired', 'token_revoked', 'room_closed', 'taken_over', 'removed']);

/**
 * An error with a stable code. The page turns the code into a sentence; message
 * is the server's own sentence, for codes that the page does not know.
 */
export class Problem extends Error {
  override readonly name = 'Problem';
  /** When what is not valid yet will be, ms since the epoch; 0: not said. */
  notBefore = 0;

  constructor(
    /** Stable, e.g. "forbidden"; "network" when no answer came. */
    readonly code: string,
    message = code,
    /** HTTP status; 0 when no answer came. */
    readonly status = 0,
    /** How long the server asks to wait, in milliseconds; 0 when it does not. */
    readonly retryAfter = 0,
    /** Why a session ended, where that is what was asked. */
    readonly reason?: string,
  ) {
    super(message);
  }

  /** No new attempt with the same credential and request will do better. */
  get final(): boolean {
    if (ENDS.has(this.code)) return true;
    if (this.status === 409 && this.code !== 'slot_taken') return false;
    return [400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422].includes(this.status);
  }
}

/** Whether err says that its work was called off on purpose. */
export function isAbort(err: unknown): boolean {
  return err instanceof DOMException && err.name === 'AbortError';
}

/** Makes a Problem of whatever was thrown. */
export function toProblem(err: unknown): Problem {
  if (err instanceof Problem) return err;
  // fetch throws a TypeError when it got no answer.
  if (err instanceof TypeError) return new Problem('network', err.message);
  return new Problem('unexpected', err instanceof Error ? err.message : String(err));
}

/** Reads the problem+json body of an answer (RFC 9457); tolerant of any other body. */
export async function problemOf(response: Response): Promise<Problem> {
  let code = `http_${response.status}`;
  let message = response.statusText || code;
  let reason: string | undefined;
  let notBefore = 0;
  try {
    const body = (await response.json()) as Partial<Record<string, unknown>>;
    if (typeof body['code'] === 'string') code = body['code'];
    if (typeof body['reason'] === 'string') reason = body['reason'];
    if (typeof body['not_before'] === 'string') notBefore = Date.parse(body['not_before']) || 0;
    if (typeof body['detail'] === 'string' && body['detail']) message = body['detail'];
    else if (typeof body['title'] === 'string' && body['title']) message = body['title'];
  } catch {
    // Not our server's words (a proxy's page): the status has to do.
  }
  const retryAfter = waitOf(response.headers.get('Retry-After'), Date.now());
  const problem = new Problem(code, message, response.status, retryAfter, reason);
  problem.notBefore = notBefore;
  return problem;
}

/** Nobody who is asked to wait for longer than this waits for longer, ms. */
const LONGEST_WAIT = 120_000;

/** Reads Retry-After, seconds or a date (RFC 9110, section 10.2.3), as milliseconds from now. */
export function waitOf(header: string | null, now: number): number {
  if (!header) return 0;
  const wait = /^\s*\d+\s*$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return wait > 0 ? Math.min(wait, LONGEST_WAIT) : 0;
}

/**
 * An error with a stable code. The page turns the code into a sentence; message
 * is the server's own sentence, for codes that the page does not know.
 */
export class Problem extends Error {
  override readonly name = 'Problem';

  constructor(
    /** Stable, e.g. "forbidden"; "network" when no answer came. */
    readonly code: string,
    message = code,
    /** HTTP status; 0 when no answer came. */
    readonly status = 0,
    /** How long the server asks to wait, in milliseconds; 0 when it does not. */
    readonly retryAfter = 0,
  ) {
    super(message);
  }

  /** No new attempt with the same credential and request will do better. */
  get final(): boolean {
    if (this.status === 409 && this.code !== 'slot_taken') return false;
    return [400, 401, 403, 404, 405, 406, 409, 413, 415, 422].includes(this.status);
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
  try {
    const body = (await response.json()) as { code?: unknown; detail?: unknown; title?: unknown };
    if (typeof body.code === 'string') code = body.code;
    if (typeof body.detail === 'string' && body.detail) message = body.detail;
    else if (typeof body.title === 'string' && body.title) message = body.title;
  } catch {
    // Not our server's words (a proxy's page): the status has to do.
  }
  const seconds = Number(response.headers.get('Retry-After'));
  const retryAfter = Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0;
  return new Problem(code, message, response.status, retryAfter);
}

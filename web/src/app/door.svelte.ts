import { type Door, type Granted, doorOf, enter, redeem } from '../lib/access.ts';
import { Api } from '../lib/api.ts';
import { pause } from '../lib/backoff.ts';
import { type Problem, toProblem } from '../lib/problem.ts';

/** How often the door is looked at while somebody stands before it, ms. */
const LOOK = 5000;
/** How often an invitation whose time has not come is tried, ms. */
const TRY_AGAIN = 15_000;
/** How long to wait when the server says "slowly" and not how slowly, ms. */
const SLOW = 5000;

/** A room seen from outside, by somebody without a credential for it. */
export class DoorModel {
  readonly room: string;
  readonly #api: Api;

  door = $state.raw<Door>();
  /** Why the door could not be looked at. */
  away = $state.raw<Problem>();
  /** Why the person was not let in. */
  refused = $state.raw<Problem>();
  busy = $state(false);
  /** Until when the server takes no attempt, ms since the epoch. */
  slowUntil = $state(0);

  constructor(room: string, api: Api = new Api()) {
    this.room = room;
    this.#api = api;
  }

  /** Looks again and again until signal aborts: a closed room may be opened. */
  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        this.door = await doorOf(this.#api, this.room, signal);
        this.away = undefined;
      } catch (err) {
        if (!signal.aborted) this.away = toProblem(err);
      }
      const wait = Math.max(LOOK, this.away?.retryAfter ?? 0);
      await pause(wait, signal).catch(() => undefined);
    }
  }

  async enter(name: string, passcode: string, signal?: AbortSignal): Promise<Granted | undefined> {
    this.busy = true;
    this.refused = undefined;
    try {
      const who = passcode ? { name, passcode } : { name };
      return await enter(this.#api, this.room, who, signal);
    } catch (err) {
      if (signal?.aborted) return undefined;
      this.refused = toProblem(err);
      if (this.refused.status === 429) {
        this.slowUntil = Date.now() + (this.refused.retryAfter || SLOW);
      }
      return undefined;
    } finally {
      this.busy = false;
    }
  }
}

/** An invitation on its way to becoming a token. */
export class RedeemModel {
  readonly #api: Api;
  readonly #code: string;

  /** Why it is not done yet; the work goes on. */
  waiting = $state.raw<Problem>();

  constructor(code: string, api: Api = new Api()) {
    this.#code = code;
    this.#api = api;
  }

  /**
   * Redeems the invitation, waiting for its time, for a room that is closed and
   * for a server that is away. The name is that of the invitation, if it has one.
   * Rejects with a Problem when it never will be.
   */
  async run(signal: AbortSignal): Promise<Granted> {
    for (;;) {
      try {
        return await redeem(this.#api, this.#code, signal);
      } catch (err) {
        const problem = toProblem(err);
        // Neither is for good: the time comes, and the room is opened.
        const early = problem.code === 'not_yet' || problem.code === 'room_closed';
        if (signal.aborted || (problem.final && !early)) throw err;
        this.waiting = problem;
        await pause(waitFor(problem, early), signal);
      }
    }
  }
}

/** How long to wait after a refusal that is not for good, ms. */
function waitFor(problem: Problem, early: boolean): number {
  if (!early) return problem.retryAfter || SLOW;
  const left = problem.notBefore ? problem.notBefore - Date.now() : TRY_AGAIN;
  // Tried now and then all the same: clocks differ, and the teacher may have changed it.
  return Math.max(1000, Math.min(TRY_AGAIN, left));
}

import type { Api, LectureSummary } from '../lib/api.ts';
import { Api as ApiClient } from '../lib/api.ts';
import { type Problem, toProblem } from '../lib/problem.ts';
import { session } from './session.svelte.ts';

const REFRESH = 5000;
const UNDO_SECONDS = 10;

/** A deletion that waits for its undo. */
interface Going {
  lecture: LectureSummary;
  timer: ReturnType<typeof setInterval>;
  left: number;
}

/**
 * The recordings that the credentials of this browser may see, from all of them
 * together. Deleting waits ten seconds here, in the page, before it is done.
 */
export class Shelf {
  lectures = $state.raw<LectureSummary[]>();
  problem = $state.raw<Problem>();
  /** Ids that are about to go. */
  going = $state.raw<string[]>([]);
  /** Told once a second while a deletion waits. */
  onwait: ((lecture: LectureSummary, secondsLeft: number) => void) | undefined;
  onfailed: ((lecture: LectureSummary, problem: Problem) => void) | undefined;
  readonly #going = new Map<string, Going>();
  readonly #may = new Map<string, Api>();

  /** Loads now and every few seconds until signal aborts. */
  start(signal: AbortSignal): void {
    void this.#load(signal);
    const timer = setInterval(() => void this.#load(signal), REFRESH);
    signal.addEventListener('abort', () => {
      clearInterval(timer);
      // Whoever leaves the page has seen the announcement and did not undo it.
      for (const { lecture } of [...this.#going.values()]) void this.#delete(lecture);
    });
  }

  /** Whether the lecture may be deleted with the credentials at hand. */
  mayDelete(lecture: LectureSummary): boolean {
    return this.#may.has(lecture.room) || this.#may.has('*');
  }

  /** Takes a lecture off the shelf; it is deleted when the time for undo is over. */
  remove(lecture: LectureSummary): void {
    if (this.#going.has(lecture.id)) return;
    const entry: Going = {
      lecture,
      left: UNDO_SECONDS,
      timer: setInterval(() => {
        entry.left--;
        if (entry.left > 0) this.onwait?.(lecture, entry.left);
        else void this.#delete(lecture);
      }, 1000),
    };
    this.#going.set(lecture.id, entry);
    this.going = [...this.#going.keys()];
    this.onwait?.(lecture, UNDO_SECONDS);
  }

  undo(id: string): void {
    clearInterval(this.#going.get(id)?.timer);
    this.#going.delete(id);
    this.going = [...this.#going.keys()];
  }

  async #delete(lecture: LectureSummary): Promise<void> {
    clearInterval(this.#going.get(lecture.id)?.timer);
    this.onwait?.(lecture, 0);
    try {
      const api = this.#may.get(lecture.room) ?? this.#may.get('*');
      await api?.deleteLecture(lecture.id);
      this.lectures = this.lectures?.filter(({ id }) => id !== lecture.id);
    } catch (err) {
      this.onfailed?.(lecture, toProblem(err));
    }
    this.undo(lecture.id);
  }

  async #load(signal: AbortSignal): Promise<void> {
    const seen = new Map<string, LectureSummary>();
    let problem: Problem | undefined;
    let answered = false;
    await Promise.all(
      session.all.map(async (credential) => {
        const api = new ApiClient(credential);
        try {
          const me = await api.me(signal);
          if (me.role === 'admin') this.#may.set('*', api);
          if (me.role === 'teacher') this.#may.set(me.room, api);
          for (const lecture of await api.lectures(undefined, signal))
            seen.set(lecture.id, lecture);
          answered = true;
        } catch (err) {
          problem = toProblem(err);
          // An old invitation is no reason for a complaint.
          if (problem.status === 401 && !signal.aborted) session.forget(credential);
        }
      }),
    );
    if (signal.aborted) return;
    this.problem = answered ? undefined : problem;
    if (!answered) return;
    this.lectures = [...seen.values()].sort(
      (a, b) => Date.parse(b.started_at) - Date.parse(a.started_at),
    );
  }
}

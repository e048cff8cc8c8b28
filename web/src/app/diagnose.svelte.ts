import { type Advice, type Verdict, adviceOf, busy, reportOf, verdictOf } from '../lib/advice.ts';
import { type BrowserFacts, browserFacts } from '../lib/browserfacts.ts';
import { Diagnosis, type PathResult, type ServerView } from '../lib/diagnose.ts';
import { type Problem, toProblem } from '../lib/problem.ts';

/** One test of the connection after the other. Reactive; owned by the page. */
export class DiagnoseModel {
  readonly #diagnosis: Diagnosis;
  readonly #stop = new AbortController();
  #run = new AbortController();

  results = $state.raw<PathResult[]>([]);
  facts = $state.raw<BrowserFacts>();
  view = $state.raw<ServerView>();
  /** Why the server said nothing. */
  problem = $state.raw<Problem>();
  running = $state(false);

  /** The server wants to know who asks. */
  readonly refused: boolean = $derived.by(() => [401, 403].includes(this.problem?.status ?? 0));
  readonly #away: boolean = $derived.by(() => this.problem !== undefined && !this.refused);
  readonly verdict: Verdict = $derived.by(() => verdictOf(this.results, this.facts, this.#away));
  readonly advice: Advice[] = $derived.by(() =>
    this.running && busy(this.results) && !this.#away
      ? []
      : adviceOf(this.results, this.facts, this.#away, this.view?.notes),
  );

  /** credential '': none. */
  constructor(credential: string, room: string) {
    this.#diagnosis = new Diagnosis({ credential, room });
  }

  /** Tests everything, from the start. */
  async start(): Promise<void> {
    this.#run.abort();
    const run = (this.#run = new AbortController());
    const signal = AbortSignal.any([run.signal, this.#stop.signal]);
    this.running = true;
    this.results = [];
    this.problem = undefined;
    try {
      this.facts = await browserFacts();
      const view = await this.#diagnosis.view(signal);
      this.view = view;
      if (this.facts.webrtc) {
        await this.#diagnosis.run(view, (result) => this.#note(result), signal);
      }
    } catch (err) {
      if (!signal.aborted) this.problem = toProblem(err);
    } finally {
      if (this.#run === run) this.running = false;
    }
  }

  report(): string {
    return reportOf({
      results: this.results,
      facts: this.facts,
      verdict: this.verdict,
      agent: navigator.userAgent,
      origin: location.origin,
      address: this.view?.address ?? '',
      words: this.view?.words ?? [],
      at: new Date(),
    });
  }

  close(): void {
    this.#stop.abort();
  }

  #note(result: PathResult): void {
    const others = this.results.filter(({ path }) => path !== result.path);
    const at = this.results.findIndex(({ path }) => path === result.path);
    this.results = at < 0 ? [...others, result] : this.results.with(at, result);
  }
}

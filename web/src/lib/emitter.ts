/** A typed source of events that needs no DOM. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(value: never) => void>>();

  /**
   * Calls listener for each event of the type until the returned function is
   * called or signal aborts.
   */
  on<K extends keyof Events>(
    type: K,
    listener: (value: Events[K]) => void,
    signal?: AbortSignal,
  ): () => void {
    if (signal?.aborted) return () => undefined;
    let set = this.#listeners.get(type);
    if (!set) this.#listeners.set(type, (set = new Set()));
    const listeners = set;
    listeners.add(listener);
    const off = () => {
      listeners.delete(listener);
      signal?.removeEventListener('abort', off);
    };
    signal?.addEventListener('abort', off, { once: true });
    return off;
  }

  /** Calls the listeners of the type, in the order in which they came. */
  protected emit<K extends keyof Events>(type: K, value: Events[K]): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      (listener as (value: Events[K]) => void)(value);
    }
  }
}

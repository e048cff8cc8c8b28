/** The part of Storage that is used. */
export interface PendingStore {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

const STORE_KEY = 'lectern.invite';

/**
 * The code of an invitation between the moment when it is taken out of the
 * address and the moment when the server has answered: a page that is loaded
 * again meanwhile still has it.
 */
export class PendingInvite {
  readonly #store: PendingStore;
  #code = '';
  #path = '';

  constructor(store: PendingStore) {
    this.#store = store;
    try {
      const kept = JSON.parse(store.getItem(STORE_KEY) ?? '{}') as Record<string, unknown>;
      if (typeof kept['code'] === 'string') this.#code = kept['code'];
      if (typeof kept['path'] === 'string') this.#path = kept['path'];
    } catch {
      // Damaged: as if there were none.
    }
  }

  put(code: string, path: string): void {
    this.#code = code;
    this.#path = path;
    try {
      this.#store.setItem(STORE_KEY, JSON.stringify({ code, path }));
    } catch {
      // Not kept: lasts as long as the page.
    }
  }

  /** The code that was meant for the page at path; '' when there is none. */
  at(path: string): string {
    return this.#path === path ? this.#code : '';
  }

  clear(): void {
    this.#code = this.#path = '';
    try {
      this.#store.removeItem(STORE_KEY);
    } catch {
      // Nothing was kept.
    }
  }
}

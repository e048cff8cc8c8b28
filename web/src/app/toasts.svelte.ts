export interface Toast {
  id: number;
  text: string;
  /** Label of the button, if there is one. */
  action?: string;
  act?: () => void;
  /** 0 to 1, where a bar shows the time left. */
  left?: number;
}

const LIFE = 8000;

/** Short messages at the edge of the page, one at a time. Nothing that matters is only here. */
class Toasts {
  current = $state<Toast>();
  #next = 1;
  #life = LIFE;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Shows toast in the place of the one before; returns its id. */
  show(toast: Omit<Toast, 'id'>, life = LIFE): number {
    const id = this.#next++;
    this.current = { ...toast, id };
    this.#life = life;
    this.#restart(life);
    return id;
  }

  /** Changes a toast that is still there. */
  update(id: number, change: Partial<Omit<Toast, 'id'>>): void {
    if (this.current?.id === id) this.current = { ...this.current, ...change };
  }

  hide(id?: number): void {
    if (id !== undefined && this.current?.id !== id) return;
    clearTimeout(this.#timer);
    this.current = undefined;
  }

  /** Stays while somebody reads or is about to press. */
  hold(): void {
    clearTimeout(this.#timer);
  }

  release(): void {
    if (this.current) this.#restart(this.#life);
  }

  #restart(life: number): void {
    clearTimeout(this.#timer);
    // Infinity: whoever shows it hides it.
    if (life < Infinity) this.#timer = setTimeout(() => (this.current = undefined), life);
  }
}

export const toasts = new Toasts();

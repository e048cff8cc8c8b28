/** The time, once a second while somebody reads it. */
export class Clock {
  now = $state(Date.now());

  /** Ticks until the component is gone. Call while it is being set up. */
  constructor() {
    $effect(() => {
      const timer = setInterval(() => (this.now = Date.now()), 1000);
      return () => clearInterval(timer);
    });
  }
}

import { Emitter } from './emitter.ts';

export interface NetworkEvents {
  /** This machine has lost its network. */
  offline: undefined;
  /** It has one again. */
  online: undefined;
  /** It has another one, e.g. mobile data in the place of Wi-Fi. */
  changed: undefined;
}

/** The part of NetworkInformation that is used; few browsers have it. */
interface Connection extends EventTarget {
  type?: string;
}

/** What the browser knows about the network of this machine. */
export class Network extends Emitter<NetworkEvents> {
  /** False only when there surely is none. */
  get online(): boolean {
    return globalThis.navigator?.onLine !== false;
  }

  /** Listens until signal aborts. */
  listen(signal: AbortSignal): void {
    if (typeof globalThis.addEventListener !== 'function') return;
    addEventListener('offline', () => this.emit('offline', undefined), { signal });
    addEventListener('online', () => this.emit('online', undefined), { signal });
    const { connection } = navigator as Navigator & { connection?: Connection };
    let type = connection?.type;
    // It changes its mind about speed all the time; only another kind of network counts.
    connection?.addEventListener?.(
      'change',
      () => {
        if (connection.type === type) return;
        const known = type !== undefined && connection.type !== 'none';
        type = connection.type;
        if (known) this.emit('changed', undefined);
      },
      { signal },
    );
  }
}

import { takeDescriptors } from './descriptors.ts';
import { Link, type LinkOptions, type Pulse, endpointOf } from './link.ts';
import type { PeerSession } from './session.ts';
import { mediaBytes, reports } from './stats.ts';

export interface ViewerOptions {
  room: string;
  slot?: string;
  credential: string;
  /** Carry the chat and files channels too. */
  channels?: boolean;
  /** Whether media must be coming in: the class is on and its teacher is connected. */
  expectMedia: () => boolean;
  link?: Partial<LinkOptions>;
}

/** Watches one stream by WHEP, before it begins and across every interruption. */
export class Viewer extends Link {
  readonly #expectMedia: () => boolean;

  constructor(options: ViewerOptions) {
    super({
      session: () => ({
        endpoint: endpointOf('whep', options.room, options.slot ?? 'main'),
        credential: options.credential,
        wait: true,
        channels: options.channels ?? false,
        prepare(pc) {
          // Every codec the browser knows: the stream may change its codec under way.
          takeDescriptors(pc.addTransceiver('video', { direction: 'recvonly' }));
          pc.addTransceiver('audio', { direction: 'recvonly' });
        },
      }),
      // Frees the viewer's place and keeps the count of people right.
      tell: true,
      ...options.link,
    });
    this.#expectMedia = options.expectMedia;
  }

  protected override async pulse(session: PeerSession): Promise<Pulse> {
    const bytes = mediaBytes((await reports(session.pc)).values());
    return { bytes, expected: this.#expectMedia(), visible: true };
  }
}

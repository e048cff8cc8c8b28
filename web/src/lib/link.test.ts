import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Backoff } from './backoff.ts';
import { Link, type LinkOptions, type LinkState, type Pulse, endpointOf } from './link.ts';
import { Problem } from './problem.ts';
import { Network } from './network.ts';
import type { Probe } from './resource.ts';
import type { PeerSession, SessionEvents } from './session.ts';
import { Emitter } from './emitter.ts';

/** A session whose fate the test decides. */
class FakeSession extends Emitter<SessionEvents> {
  connected = false;
  pc = { connectionState: 'connected' };
  opens: Error | undefined;
  probes: Probe['state'] = 'alive';
  why: Problem | undefined;
  probed = 0;
  restarts: Error | undefined;
  restarted = 0;
  closed: boolean | undefined;
  bytes = 0;

  open(): Promise<void> {
    if (this.opens) return Promise.reject(this.opens);
    this.connected = true;
    return Promise.resolve();
  }

  probe(): Promise<Probe> {
    this.probed++;
    return Promise.resolve(
      this.why ? { state: this.probes, problem: this.why } : { state: this.probes },
    );
  }

  restart(): Promise<void> {
    this.restarted++;
    return this.restarts ? Promise.reject(this.restarts) : Promise.resolve();
  }

  close(tell = true): Promise<void> {
    this.closed ??= tell;
    return Promise.resolve();
  }

  change(link: SessionEvents['link']): void {
    this.emit('link', link);
  }
}

/** A network that the test takes away. */
class FakeNetwork extends Network {
  there = true;

  override get online(): boolean {
    return this.there;
  }

  go(): void {
    this.there = false;
    this.emit('offline', undefined);
  }

  come(): void {
    this.there = true;
    this.emit('online', undefined);
  }

  change(): void {
    this.emit('changed', undefined);
  }
}

class TestLink extends Link {
  visible = true;
  expected = true;

  protected override pulse(session: PeerSession): Promise<Pulse> {
    const { bytes } = session as unknown as FakeSession;
    return Promise.resolve({ bytes, expected: this.expected, visible: this.visible });
  }
}

const sessions: FakeSession[] = [];
const states: LinkState[] = [];
let prepare: (session: FakeSession, index: number) => void;
let flow: ReturnType<typeof setInterval>;
let network: FakeNetwork;

function begin(options: Partial<LinkOptions> = {}): TestLink {
  const link = new TestLink({
    session: () => ({ endpoint: '/whep/x', credential: 't', prepare: () => undefined }),
    backoff: new Backoff({ first: 200, random: () => 0.5 }),
    network,
    openSession: () => {
      const session = new FakeSession();
      prepare(session, sessions.length);
      sessions.push(session);
      return session as unknown as PeerSession;
    },
    ...options,
  });
  link.on('state', (state) => states.push(state));
  void link.start();
  return link;
}

const phases = () => states.map((s) => s.phase).filter((p, i, all) => p !== all[i - 1]);

beforeEach(() => {
  vi.useFakeTimers();
  sessions.length = states.length = 0;
  prepare = () => undefined;
  network = new FakeNetwork();
  // Media flows in the newest session unless the test stops it.
  flow = setInterval(() => {
    const newest = sessions.at(-1);
    if (newest) newest.bytes += 100;
  }, 100);
});

afterEach(() => {
  clearInterval(flow);
  vi.useRealTimers();
});

describe('Link', () => {
  it('is up as soon as its session is, and tells the server when it is closed', async () => {
    const link = begin();
    await vi.advanceTimersByTimeAsync(10);
    expect(link.state.phase).toBe('up');
    await link.close();
    expect(sessions[0]?.closed).toBe(true);
    expect(link.state.phase).toBe('closed');
  });

  it('is lost at once when the channel closes, and back with a new session', async () => {
    const link = begin();
    await vi.advanceTimersByTimeAsync(1000);
    sessions[0]?.change('lost');
    await vi.advanceTimersByTimeAsync(0);
    expect(link.state.phase).toBe('lost');
    await vi.advanceTimersByTimeAsync(1000);
    expect(sessions).toHaveLength(2);
    expect(phases()).toEqual(['connecting', 'up', 'lost', 'up']);
    await link.close();
  });

  it('does not claim to be up while a new session brings nothing', async () => {
    const link = begin();
    await vi.advanceTimersByTimeAsync(1000);
    clearInterval(flow);
    sessions[0]?.change('lost');
    await vi.advanceTimersByTimeAsync(2000);
    expect(sessions).toHaveLength(2);
    expect(link.state).toMatchObject({ phase: 'lost', step: 'media' });
    await link.close();
  });

  it('tries an ICE restart before a new session', async () => {
    const link = begin();
    await vi.advanceTimersByTimeAsync(1000);
    sessions[0]?.change('down');
    await vi.advanceTimersByTimeAsync(1500);
    expect(sessions[0]?.restarted).toBe(1);
    expect(sessions).toHaveLength(1);
    expect(link.state.phase).toBe('up');
    await link.close();
  });

  it('opens a new session when the server has forgotten the old one', async () => {
    prepare = (session, index) => {
      if (index === 0) session.probes = 'gone';
    };
    const link = begin();
    await vi.advanceTimersByTimeAsync(1000);
    sessions[0]?.change('down');
    await vi.advanceTimersByTimeAsync(1500);
    expect(sessions[0]?.restarted).toBe(0);
    expect(sessions).toHaveLength(2);
    expect(link.state.phase).toBe('up');
    await link.close();
  });

  it('shows within about 3 s that a picture stands still', async () => {
    const link = begin();
    await vi.advanceTimersByTimeAsync(1000);
    clearInterval(flow);
    await vi.advanceTimersByTimeAsync(2500);
    expect(link.state.phase).toBe('up');
    await vi.advanceTimersByTimeAsync(1500);
    expect(link.state).toMatchObject({ phase: 'lost', step: 'media' });
    await link.close();
  });

  it('takes silence that nobody sees for no loss while the server knows the session', async () => {
    const link = begin();
    link.visible = false;
    await vi.advanceTimersByTimeAsync(1000);
    clearInterval(flow);
    await vi.advanceTimersByTimeAsync(5000);
    expect(link.state.phase).toBe('up');
    await link.close();
  });

  it('waits calmly when nothing is to be expected', async () => {
    clearInterval(flow);
    const link = begin();
    link.expected = false;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(link.state.phase).toBe('up');
    expect(sessions).toHaveLength(1);
    expect(sessions[0]!.probed).toBe(1);
    await link.close();
  });

  it('asks in any silence whether the server still knows the session', async () => {
    const link = begin();
    link.expected = false;
    await vi.advanceTimersByTimeAsync(1000);
    clearInterval(flow);
    sessions[0]!.probes = 'gone';
    await vi.advanceTimersByTimeAsync(2600);
    expect(sessions).toHaveLength(2);
    await link.close();
  });

  it('keeps the session while the network is away', async () => {
    prepare = (session) => (session.probes = 'unreachable');
    const link = begin();
    await vi.advanceTimersByTimeAsync(1000);
    clearInterval(flow);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(link.state).toMatchObject({ phase: 'lost', step: 'server' });
    expect(sessions).toHaveLength(1);
    await link.close();
  });

  it('tries for ever with growing pauses, sooner when told', async () => {
    prepare = (session) => (session.opens = new Problem('network'));
    const link = begin();
    await vi.advanceTimersByTimeAsync(0);
    expect(sessions).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(199);
    expect(sessions).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(sessions).toHaveLength(2);
    link.retryNow();
    await vi.advanceTimersByTimeAsync(0);
    expect(sessions).toHaveLength(3);
    expect(link.state).toMatchObject({ phase: 'connecting', attempt: 3 });
    await vi.advanceTimersByTimeAsync(120_000);
    expect(sessions.length).toBeGreaterThan(20);
    await link.close();
  });

  it('stops when it is refused for good', async () => {
    prepare = (session) => (session.opens = new Problem('forbidden', '', 403));
    const link = begin();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sessions).toHaveLength(1);
    expect(link.state.phase).toBe('failed');
    expect(link.state.problem?.code).toBe('forbidden');
  });

  it('waits as long as the server asks', async () => {
    prepare = (session) => (session.opens = new Problem('stopping', '', 503, 5000));
    const link = begin();
    await vi.advanceTimersByTimeAsync(4900);
    expect(sessions).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(sessions).toHaveLength(2);
    await link.close();
  });
});

describe('Link when the network changes', () => {
  it('restarts ICE at once in the same session, and shows nothing while media flows', async () => {
    const link = begin();
    await vi.advanceTimersByTimeAsync(1000);
    network.change();
    await vi.advanceTimersByTimeAsync(0);
    expect(sessions[0]?.restarted).toBe(1);
    await vi.advanceTimersByTimeAsync(5000);
    expect(sessions).toHaveLength(1);
    expect(phases()).toEqual(['connecting', 'up']);
    await link.close();
  });

  it('says that there is no network, and restarts when there is one', async () => {
    prepare = (session) => (session.why = new Problem('network'));
    const link = begin();
    await vi.advanceTimersByTimeAsync(1000);
    clearInterval(flow);
    sessions[0]!.probes = 'unreachable';
    network.go();
    await vi.advanceTimersByTimeAsync(1000);
    expect(link.state.phase).toBe('lost');
    expect(link.state.problem?.code).toBe('offline');
    await vi.advanceTimersByTimeAsync(5000);
    const before = sessions[0]!.restarted;
    sessions[0]!.probes = 'alive';
    network.come();
    await vi.advanceTimersByTimeAsync(0);
    expect(sessions[0]!.restarted).toBe(before + 1);
    sessions[0]!.bytes += 100;
    await vi.advanceTimersByTimeAsync(1000);
    expect(link.state).toMatchObject({ phase: 'up', problem: undefined, retryAt: 0 });
    expect(sessions).toHaveLength(1);
    await link.close();
  });

  it('believes bytes more than a browser that says offline', async () => {
    const link = begin();
    await vi.advanceTimersByTimeAsync(1000);
    network.go();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(phases()).toEqual(['connecting', 'up']);
    await link.close();
  });

  it('keeps the session when the restart gets no answer, and tries again', async () => {
    prepare = (session) => (session.restarts = new Problem('network'));
    const link = begin();
    await vi.advanceTimersByTimeAsync(1000);
    sessions[0]?.change('down');
    await vi.advanceTimersByTimeAsync(3000);
    expect(sessions).toHaveLength(1);
    expect(sessions[0]!.restarted).toBeGreaterThan(1);
    expect(link.state).toMatchObject({ phase: 'lost', step: 'server' });
    sessions[0]!.restarts = undefined;
    await vi.advanceTimersByTimeAsync(4000);
    expect(link.state.phase).toBe('up');
    expect(sessions).toHaveLength(1);
    await link.close();
  });

  it('opens a new session when the restart finds none', async () => {
    prepare = (session, i) => {
      if (i > 0) return;
      session.restarts = new Problem('no_such_session', '', 404);
    };
    const link = begin();
    await vi.advanceTimersByTimeAsync(1000);
    network.change();
    await vi.advanceTimersByTimeAsync(1000);
    expect(sessions).toHaveLength(2);
    expect(link.state.phase).toBe('up');
    await link.close();
  });
});

describe('Link whose session was ended', () => {
  it.each(['token_expired', 'token_revoked', 'room_closed', 'taken_over', 'removed'])(
    'stops, and does not fight, after %s',
    async (code) => {
      prepare = (session) => {
        session.probes = 'gone';
        session.why = new Problem(code, '', 404);
      };
      const link = begin();
      await vi.advanceTimersByTimeAsync(1000);
      sessions[0]?.change('lost');
      await vi.advanceTimersByTimeAsync(60_000);
      expect(sessions).toHaveLength(1);
      expect(link.state).toMatchObject({ phase: 'failed', problem: { code } });
    },
  );

  it('begins again when a person asks for it', async () => {
    prepare = (session, i) => {
      if (i > 0) return;
      session.probes = 'gone';
      session.why = new Problem('taken_over', '', 404);
    };
    const link = begin();
    await vi.advanceTimersByTimeAsync(1000);
    sessions[0]?.change('lost');
    await vi.advanceTimersByTimeAsync(1000);
    expect(link.state.phase).toBe('failed');
    link.retryNow();
    await vi.advanceTimersByTimeAsync(1000);
    expect(sessions).toHaveLength(2);
    expect(link.state).toMatchObject({ phase: 'up', problem: undefined });
    await link.close();
  });

  it('says that the server restarts, and when it tries again', async () => {
    prepare = (session, i) => {
      if (i > 0) session.opens = new Problem('shutting_down', '', 503, 3000);
      session.probes = 'gone';
      session.why = new Problem('shutting_down');
    };
    const link = begin();
    await vi.advanceTimersByTimeAsync(1000);
    sessions[0]?.change('lost');
    await vi.advanceTimersByTimeAsync(100);
    expect(link.state).toMatchObject({ phase: 'lost', problem: { code: 'shutting_down' } });
    expect(link.state.retryAt - Date.now()).toBeGreaterThan(2500);
    prepare = () => undefined;
    await vi.advanceTimersByTimeAsync(4000);
    expect(link.state.phase).toBe('up');
    await link.close();
  });
});

describe('endpointOf', () => {
  it('leaves the default slot out', () => {
    expect(endpointOf('whip', 'algebra', 'main')).toBe('/whip/algebra');
    expect(endpointOf('whep', 'a b', 'screen')).toBe('/whep/a%20b/screen');
  });
});

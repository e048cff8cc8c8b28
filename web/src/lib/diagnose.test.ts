import { beforeEach, describe, expect, it } from 'vitest';
import { candidatesOf } from './candidates.ts';
import { Diagnosis, type PathResult, type ServerView, turnPath, viewOf } from './diagnose.ts';

const BODY = {
  client: { address: '203.0.113.7', proxied: false, secure: true },
  udp: { addresses: ['192.0.2.1:8189'] },
  tcp: { addresses: ['192.0.2.1:8189'] },
  turn: {
    servers: [
      { url: 'turn:school.example:3478?transport=udp', username: 'u', credential: 'secret' },
      { url: 'turn:school.example:3478?transport=tcp', username: 'u', credential: 'secret' },
      { url: 'turns:school.example:5349', username: 'u', credential: 'secret' },
      { url: 'turn:nobody.example' },
    ],
  },
  notes: [{ code: 'only_private', text: 'x' }],
  words: ['Media is taken on port 8189.'],
};

describe('viewOf', () => {
  it('reads what is offered, by path', () => {
    const view = viewOf(BODY);
    expect(view).toMatchObject({
      address: '203.0.113.7',
      udp: ['192.0.2.1:8189'],
      notes: ['only_private'],
    });
    expect(Object.keys(view.turn)).toEqual(['turn-udp', 'turn-tcp', 'turn-tls']);
    expect(view.turn['turn-tls']).toEqual({
      urls: 'turns:school.example:5349',
      username: 'u',
      credential: 'secret',
    });
  });

  it.each([undefined, null, 'x', [], {}, { udp: 3, tcp: { addresses: 'x' }, turn: [] }])(
    'takes %j for nothing offered',
    (body) => {
      expect(viewOf(body)).toEqual({
        address: '',
        udp: [],
        tcp: [],
        words: [],
        notes: [],
        turn: {},
      });
    },
  );

  it('knows the transport of a TURN address', () => {
    expect(turnPath('turn:a')).toBe('turn-udp');
    expect(turnPath('stun:a')).toBeUndefined();
  });
});

describe('candidatesOf', () => {
  it('says each once, without names that the browser hides', () => {
    const sdp = [
      'a=candidate:1 1 udp 2122260223 192.168.1.7 50000 typ host generation 0',
      'a=candidate:1 1 udp 2122260223 192.168.1.7 50000 typ host generation 0',
      'a=candidate:2 1 UDP 1 0d5c1a2e-1111-4222-8333-444455556666.local 50001 typ host',
      'a=candidate:3 1 tcp 1 2001:db8::1 9 typ host tcptype active',
      'a=candidate:4 1 dccp 1 10.0.0.1 9 typ host',
      'a=candidate:broken',
    ].join('\r\n');
    expect(candidatesOf(sdp)).toEqual([
      'udp 192.168.1.7:50000 host',
      'udp hidden.local:50001 host',
      'tcp [2001:db8::1]:9 host',
    ]);
  });
});

/** A channel that echoes, or does not. */
class Channel extends EventTarget {
  readyState = 'connecting';
  constructor(readonly echoes: boolean) {
    super();
  }
  send(data: string): void {
    if (this.echoes)
      queueMicrotask(() => this.dispatchEvent(new MessageEvent('message', { data })));
  }
}

let opens: (configuration: RTCConfiguration) => boolean;
let finds: (configuration: RTCConfiguration) => boolean;
let configurations: RTCConfiguration[];
let closed: number;

class Peer extends EventTarget {
  iceGatheringState = 'complete';
  connectionState = 'new';
  localDescription: { sdp: string } | null = null;
  readonly #channel = new Channel(true);

  constructor(readonly configuration: RTCConfiguration) {
    super();
    configurations.push(configuration);
  }
  createDataChannel(): Channel {
    return this.#channel;
  }
  createOffer(): Promise<object> {
    return Promise.resolve({});
  }
  setLocalDescription(): Promise<void> {
    const line = 'a=candidate:1 1 udp 1 10.0.0.9 5000 typ host\r\n';
    this.localDescription = { sdp: finds(this.configuration) ? line : '' };
    return Promise.resolve();
  }
  setRemoteDescription(): Promise<void> {
    if (opens(this.configuration)) {
      this.#channel.readyState = 'open';
      this.#channel.dispatchEvent(new Event('open'));
    } else {
      this.connectionState = 'failed';
      setTimeout(() => this.dispatchEvent(new Event('connectionstatechange')));
    }
    return Promise.resolve();
  }
  close(): void {
    closed++;
  }
}

describe('Diagnosis', () => {
  let calls: string[];
  const signal = new AbortController().signal;

  const make = (answer: (method: string) => Response) =>
    new Diagnosis({
      credential: 'tok',
      room: 'maths',
      createPeer: (c) => new Peer(c) as unknown as RTCPeerConnection,
      fetch: ((url: string, init: RequestInit) => {
        calls.push(`${init.method} ${url}`);
        return Promise.resolve(answer(init.method ?? ''));
      }) as typeof fetch,
    });
  const created = () =>
    new Response('a=candidate:1 1 udp 1 192.0.2.1 8189 typ host\r\n', {
      status: 201,
      headers: { Location: '/api/diagnose/1' },
    });

  async function run(diagnosis: Diagnosis, view: ServerView) {
    const told: PathResult[] = [];
    await diagnosis.run(view, (result) => told.push(result), signal);
    const last = new Map(told.map((result) => [result.path, result]));
    return { told, last };
  }

  beforeEach(() => {
    calls = [];
    configurations = [];
    closed = 0;
    opens = () => true;
    finds = () => true;
  });

  it('goes every path that is offered, and frees each', async () => {
    const { last, told } = await run(make(created), viewOf(BODY));
    expect([...last.values()].map((r) => [r.path, r.outcome])).toEqual([
      ['udp', 'works'],
      ['tcp', 'works'],
      ['turn-udp', 'works'],
      ['turn-tcp', 'works'],
      ['turn-tls', 'works'],
    ]);
    expect(last.get('udp')).toMatchObject({
      server: ['udp 192.0.2.1:8189 host'],
      browser: ['udp 10.0.0.9:5000 host'],
    });
    expect(told.filter((r) => r.path === 'udp').map((r) => r.outcome)).toEqual([
      'waiting',
      'testing',
      'works',
    ]);
    expect(calls).toContain('POST /api/diagnose?path=udp&room=maths');
    expect(calls).toContain('POST /api/diagnose?path=any&room=maths');
    expect(calls.filter((call) => call.startsWith('DELETE'))).toHaveLength(5);
    expect(closed).toBe(5);
  });

  it('lets a relay be the only way where one is tested', async () => {
    await run(make(created), viewOf(BODY));
    const relays = configurations.filter((c) => c.iceTransportPolicy === 'relay');
    expect(relays.map((c) => c.iceServers?.length)).toEqual([1, 1, 1]);
  });

  it('tells what does not work from what is not offered', async () => {
    opens = (c) => c.iceTransportPolicy !== 'relay' && configurations.indexOf(c) === 1;
    const { last } = await run(make(created), viewOf({ ...BODY, turn: {} }));
    expect([...last.values()].map((r) => r.outcome)).toEqual([
      'fails',
      'works',
      'off',
      'off',
      'off',
    ]);
    expect(last.get('udp')?.problem?.code).toBe('no_path');
  });

  it('says that a relay could not be reached', async () => {
    finds = (c) => c.iceTransportPolicy !== 'relay';
    const { last } = await run(make(created), viewOf(BODY));
    expect(last.get('turn-tls')).toMatchObject({
      outcome: 'fails',
      problem: { code: 'no_relay' },
    });
  });

  it('keeps the reason of a server that refuses', async () => {
    const refuse = () => new Response('{"code":"forbidden"}', { status: 403 });
    const { last } = await run(make(refuse), viewOf(BODY));
    expect(last.get('udp')?.problem?.code).toBe('forbidden');
  });
});

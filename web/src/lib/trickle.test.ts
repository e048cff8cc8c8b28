import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PeerSession, type SessionEvents } from './session.ts';

const HOST = 'candidate:1 1 udp 2122260223 10.0.0.5 50000 typ host generation 0';
const RELAY = 'candidate:2 1 udp 41885439 192.0.2.9 60000 typ relay raddr 0.0.0.0 rport 0';

/** A peer connection that finds candidates when the test says so. */
class GatheringPeer extends EventTarget {
  iceConnectionState = 'new';
  connectionState = 'new';
  iceGatheringState = 'new';
  signalingState = 'stable';
  remoteDescription: { sdp: string } | null = null;
  generation = 0;
  readonly candidates: string[] = [];

  get localDescription(): { sdp: string } | null {
    if (this.generation === 0) return null;
    const head = `v=0\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=ice-ufrag:u${this.generation}\r\na=ice-pwd:p${this.generation}\r\n`;
    return { sdp: head + this.candidates.map((c) => `a=${c}\r\n`).join('') };
  }

  createOffer(): Promise<object> {
    return Promise.resolve({});
  }

  setLocalDescription(): Promise<void> {
    this.generation++;
    this.candidates.length = 0;
    this.iceGatheringState = 'gathering';
    return Promise.resolve();
  }

  setRemoteDescription(description: { sdp: string }): Promise<void> {
    this.remoteDescription = description;
    this.iceConnectionState = this.connectionState = 'connected';
    this.dispatchEvent(new Event('iceconnectionstatechange'));
    return Promise.resolve();
  }

  find(candidate: string, generation = this.generation): void {
    this.candidates.push(candidate);
    const found = { candidate, usernameFragment: `u${generation}` };
    this.dispatchEvent(Object.assign(new Event('icecandidate'), { candidate: found }));
  }

  complete(): void {
    this.iceGatheringState = 'complete';
    this.dispatchEvent(new Event('icegatheringstatechange'));
    this.dispatchEvent(Object.assign(new Event('icecandidate'), { candidate: null }));
  }

  close(): void {
    this.connectionState = 'closed';
  }
}

let peer: GatheringPeer;
let calls: { method: string; body: string; tag?: string }[];
let patches: Response[];
let etag = '"e1"';
const signal = new AbortController().signal;

function open(): { session: PeerSession; links: SessionEvents['link'][]; done: Promise<void> } {
  const session = new PeerSession({
    endpoint: 'http://server.example/whep/x',
    credential: 'tok',
    prepare: () => undefined,
    createPeer: () => peer as unknown as RTCPeerConnection,
    fetch: ((_: string, init: RequestInit) => {
      const headers = init.headers as Record<string, string>;
      const method = init.method ?? '';
      calls.push({ method, body: (init.body as string) ?? '', tag: headers['If-Match'] });
      if (method === 'POST') {
        const answer = peer.localDescription?.sdp ?? '';
        return Promise.resolve(
          new Response(answer, { status: 201, headers: { Location: '/s/1', ETag: '"e1"' } }),
        );
      }
      if (method === 'GET') return Promise.resolve(new Response('', { headers: { ETag: etag } }));
      return Promise.resolve(patches.shift() ?? new Response(null, { status: 204 }));
    }) as typeof fetch,
  });
  const links: SessionEvents['link'][] = [];
  session.on('link', (link) => links.push(link));
  return { session, links, done: session.open(signal) };
}

const sent = (method: string) => calls.filter((call) => call.method === method);

beforeEach(() => {
  vi.useFakeTimers();
  peer = new GatheringPeer();
  calls = [];
  patches = [];
  etag = '"e1"';
});
afterEach(() => void vi.useRealTimers());

describe('the offer', () => {
  it('goes out a moment after the last host candidate, without waiting for TURN', async () => {
    const { session } = open();
    await vi.advanceTimersByTimeAsync(10);
    peer.find(HOST);
    await vi.advanceTimersByTimeAsync(50);
    expect(sent('POST')).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(20);
    expect(sent('POST')[0]?.body).toContain(`a=${HOST}`);
    await session.close(false);
  });

  it('goes out after a quarter of a second however many candidates come', async () => {
    const { session } = open();
    for (let i = 0; i < 8; i++) {
      await vi.advanceTimersByTimeAsync(40);
      peer.find(HOST.replace('50000', `5000${i}`));
    }
    expect(sent('POST')).toHaveLength(1);
    await session.close(false);
  });

  it('waits longer for its first candidate', async () => {
    const { session } = open();
    await vi.advanceTimersByTimeAsync(600);
    expect(sent('POST')).toHaveLength(0);
    peer.find(HOST);
    await vi.advanceTimersByTimeAsync(60);
    expect(sent('POST')).toHaveLength(1);
    await session.close(false);
  });

  it('goes out at once when there are no more', async () => {
    const { session } = open();
    await vi.advanceTimersByTimeAsync(1);
    peer.find(HOST);
    peer.complete();
    await vi.advanceTimersByTimeAsync(0);
    expect(sent('POST')).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1000);
    expect(sent('PATCH')).toHaveLength(0);
    await session.close(false);
  });
});

describe('candidates that are found later', () => {
  async function opened() {
    const opening = open();
    await vi.advanceTimersByTimeAsync(1);
    peer.find(HOST);
    await vi.advanceTimersByTimeAsync(100);
    await opening.done;
    return opening;
  }

  it('go out together, with the tag of the session', async () => {
    const { session } = await opened();
    peer.find(RELAY);
    peer.find(RELAY.replace('60000', '60001'));
    peer.complete();
    await vi.advanceTimersByTimeAsync(200);
    expect(sent('PATCH')).toHaveLength(1);
    const { body, tag } = sent('PATCH')[0]!;
    expect(tag).toBe('"e1"');
    expect(body.split('\r\n')).toEqual([
      'a=group:BUNDLE 0',
      'm=video 9 UDP/TLS/RTP/SAVPF 96',
      'a=mid:0',
      'a=ice-ufrag:u1',
      'a=ice-pwd:p1',
      `a=${RELAY}`,
      `a=${RELAY.replace('60000', '60001')}`,
      'a=end-of-candidates',
      '',
    ]);
    await session.close(false);
  });

  it('are not sent twice where browsers write the same one in two ways', async () => {
    const { session } = await opened();
    peer.dispatchEvent(
      Object.assign(new Event('icecandidate'), {
        candidate: { candidate: HOST.replace('generation 0', 'generation 0 ufrag u1') },
      }),
    );
    await vi.advanceTimersByTimeAsync(500);
    expect(sent('PATCH')).toHaveLength(0);
    await session.close(false);
  });

  it('use the new tag after 412', async () => {
    const { session } = await opened();
    patches = [new Response(null, { status: 412 })];
    etag = '"e2"';
    peer.find(RELAY);
    await vi.advanceTimersByTimeAsync(500);
    expect(sent('PATCH').map((call) => call.tag)).toEqual(['"e1"', '"e2"']);
    await session.close(false);
  });

  it('tell that the session is gone by 404', async () => {
    const { session, links } = await opened();
    patches = [new Response(null, { status: 404 })];
    peer.find(RELAY);
    await vi.advanceTimersByTimeAsync(500);
    expect(links).toContain('lost');
    await session.close(false);
  });

  it('are sent again when the server is busy, not when it refuses them', async () => {
    const { session } = await opened();
    patches = [new Response(null, { status: 503 }), new Response(null, { status: 400 })];
    peer.find(RELAY);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(sent('PATCH')).toHaveLength(2);
    await session.close(false);
  });

  it('go with the tag of the restart after one, and those of before are dropped', async () => {
    const { session } = await opened();
    const fragment = 'a=ice-ufrag:srv\r\na=ice-pwd:srvpwd\r\n';
    patches = [new Response(fragment, { status: 200, headers: { ETag: '"r1"' } })];
    const restarted = session.restart(signal);
    await vi.advanceTimersByTimeAsync(1);
    peer.find(RELAY, 1);
    peer.find(HOST);
    await vi.advanceTimersByTimeAsync(100);
    await restarted;
    peer.find(RELAY.replace('60000', '61000'));
    await vi.advanceTimersByTimeAsync(500);
    expect(sent('PATCH').map((call) => call.tag)).toEqual(['*', '"r1"']);
    expect(sent('PATCH')[1]?.body).toContain('a=ice-ufrag:u2');
    expect(sent('PATCH')[1]?.body).not.toContain(' 60000 ');
    await session.close(false);
  });
});

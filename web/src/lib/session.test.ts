import { beforeEach, describe, expect, it, vi } from 'vitest';
import { IceServers } from './iceservers.ts';
import { PeerSession, type SessionEvents, type SessionOptions } from './session.ts';

const SDP = [
  'v=0',
  'a=group:BUNDLE 0',
  'm=video 9 UDP/TLS/RTP/SAVPF 96',
  'a=mid:0',
  'a=ice-ufrag:local',
  'a=ice-pwd:localpassword0123456789',
  '',
].join('\r\n');

class FakeChannel extends EventTarget {
  binaryType = 'blob';
  constructor(
    readonly label: string,
    readonly protocol: string,
  ) {
    super();
  }
}

/** A peer connection without a network. */
class FakePeer extends EventTarget {
  iceConnectionState = 'new';
  connectionState = 'new';
  iceGatheringState = 'complete';
  signalingState = 'stable';
  localDescription: { sdp: string } | null = null;
  remoteDescription: { sdp: string } | null = null;
  readonly channels: FakeChannel[] = [];
  restarts = 0;

  setLocalDescription(): Promise<void> {
    this.localDescription = { sdp: SDP };
    return Promise.resolve();
  }

  createOffer(options: { iceRestart?: boolean }): Promise<object> {
    if (options.iceRestart) this.restarts++;
    return Promise.resolve({});
  }

  setRemoteDescription(description: { sdp: string }): Promise<void> {
    this.remoteDescription = description;
    this.become('connected');
    return Promise.resolve();
  }

  createDataChannel(label: string, { protocol }: { protocol: string }): FakeChannel {
    const channel = new FakeChannel(label, protocol);
    this.channels.push(channel);
    return channel;
  }

  close(): void {
    this.connectionState = 'closed';
  }

  become(state: string): void {
    this.iceConnectionState = state;
    if (state !== 'disconnected') this.connectionState = state;
    this.dispatchEvent(new Event('iceconnectionstatechange'));
    this.dispatchEvent(new Event('connectionstatechange'));
  }
}

let peer: FakePeer;
let answers: (Response | Error)[];
let calls: { url: string; init: RequestInit }[];
const signal = new AbortController().signal;

function make(options: Partial<SessionOptions> = {}): PeerSession {
  return new PeerSession({
    endpoint: 'http://server.example/whep/algebra',
    credential: 'tok',
    prepare: () => undefined,
    createPeer: () => peer as unknown as RTCPeerConnection,
    fetch: ((url: string, init: RequestInit) => {
      calls.push({ url, init });
      const answer = answers.shift();
      return answer instanceof Response ? Promise.resolve(answer) : Promise.reject(answer!);
    }) as typeof fetch,
    ...options,
  });
}

const created = () =>
  new Response(SDP, { status: 201, headers: { Location: '/whep/algebra/session/s1' } });

beforeEach(() => {
  peer = new FakePeer();
  answers = [];
  calls = [];
});

describe('PeerSession', () => {
  it('offers with its channels, waits politely and connects', async () => {
    answers = [created()];
    const session = make({ channels: true, wait: true });
    await session.open(signal);
    expect(peer.channels.map((c) => [c.label, c.protocol])).toEqual([
      ['chat', 'lectern.v1'],
      ['files', 'lectern.v1'],
    ]);
    expect(calls[0]?.init).toMatchObject({
      method: 'POST',
      body: SDP,
      headers: {
        Authorization: 'Bearer tok',
        'Content-Type': 'application/sdp',
        Prefer: 'wait',
      },
    });
    expect(session.connected).toBe(true);
  });

  it('tells why it was refused', async () => {
    answers = [new Response('{"code":"slot_taken","detail":"Taken."}', { status: 409 })];
    await expect(make().open(signal)).rejects.toMatchObject({ code: 'slot_taken', status: 409 });
  });

  it('restarts ICE with a fragment and keeps the rest of the answer', async () => {
    const fragment = 'a=ice-ufrag:fresh\r\na=ice-pwd:freshpassword0123456789\r\n';
    answers = [created(), new Response(fragment, { status: 200 })];
    const session = make();
    await session.open(signal);
    await session.restart(signal);
    expect(peer.restarts).toBe(1);
    expect(calls[1]?.url).toBe('http://server.example/whep/algebra/session/s1');
    expect(calls[1]?.init).toMatchObject({
      method: 'PATCH',
      headers: { 'If-Match': '*', 'Content-Type': 'application/trickle-ice-sdpfrag' },
    });
    expect(peer.remoteDescription?.sdp).toContain('a=ice-ufrag:fresh');
    expect(peer.remoteDescription?.sdp).toContain('m=video');
  });

  it('fits its senders once the answer is set, and finds the extensions in it', async () => {
    const link =
      '</whep/algebra/s1/layer>; rel="urn:x:layer", </whep/algebra/s1/sse>; rel="urn:x:sse"';
    const made = { Location: '/whep/algebra/s1', Link: link };
    answers = [
      new Response(SDP, { status: 201, headers: made }),
      new Response(null, { status: 201, headers: { Location: '/whep/algebra/s1/sse/7' } }),
      new Response('{"code":"no_such_layer"}', { status: 422 }),
    ];
    const answered: unknown[] = [];
    const session = make({
      answered: (pc) => Promise.resolve(void answered.push(pc.remoteDescription?.sdp)),
    });
    await session.open(signal);
    expect(answered).toEqual([SDP]);
    const { resource } = session;
    const layer = resource.extension('urn:x:layer');
    expect(layer).toBe('http://server.example/whep/algebra/s1/layer');
    expect(resource.extension('urn:x:none')).toBe('');
    const events = resource.extension('urn:x:sse');
    expect(await resource.post(events, ['layers'], signal)).toBe(
      'http://server.example/whep/algebra/s1/sse/7',
    );
    expect(calls[1]?.init).toMatchObject({ method: 'POST', body: '["layers"]' });
    await expect(resource.post(layer, { rid: 'f' }, signal)).rejects.toMatchObject({
      code: 'no_such_layer',
      final: true,
    });
  });

  it('takes over the ICE servers before it makes an offer', async () => {
    answers = [created()];
    const set: unknown[] = [];
    Object.assign(peer, { setConfiguration: (c: unknown) => set.push(c) });
    const servers = new IceServers({
      endpoint: '/whep/algebra',
      credential: 'tok',
      fetch: () =>
        Promise.resolve(
          new Response(null, { headers: { Link: '<stun:school.example>; rel="ice-server"' } }),
        ),
    });
    await make({ servers }).open(signal);
    expect(set).toEqual([
      { bundlePolicy: 'max-bundle', iceServers: [{ urls: 'stun:school.example' }] },
    ]);
  });

  it('says why the server ended it', async () => {
    const end = (body: object, status = 404) => new Response(JSON.stringify(body), { status });
    answers = [
      created(),
      end({ code: 'session_ended', reason: 'taken_over', detail: 'x' }),
      end({ code: 'session_ended', reason: 'deleted' }),
      end({ code: 'token_revoked' }, 401),
      end({ code: 'room_closed' }, 403),
      end({ code: 'session_ended', reason: 'shutdown' }),
      end({ code: 'session_ended', reason: 'consent_lost' }),
    ];
    const session = make();
    await session.open(signal);
    const seen: unknown[] = [];
    for (let i = 0; i < 6; i++) {
      const { state, problem } = await session.probe(signal);
      expect(state).toBe('gone');
      seen.push(problem && [problem.code, problem.final]);
    }
    expect(seen).toEqual([
      ['taken_over', true],
      ['removed', true],
      ['token_revoked', true],
      ['room_closed', true],
      ['shutting_down', false],
      undefined,
    ]);
  });

  it('asks the server whether it still knows the session', async () => {
    answers = [
      created(),
      new Response(null, { status: 204 }),
      new Response(null, { status: 404 }),
      new TypeError('Failed to fetch'),
    ];
    const session = make();
    const probe = async () => (await session.probe(signal)).state;
    expect(await probe()).toBe('gone');
    await session.open(signal);
    expect(await probe()).toBe('alive');
    expect(await probe()).toBe('gone');
    expect(await probe()).toBe('unreachable');
  });

  it('tells of a lost path, and of a lost session once', async () => {
    answers = [created()];
    const session = make({ channels: true });
    await session.open(signal);
    const links: SessionEvents['link'][] = [];
    session.on('link', (link) => links.push(link));
    peer.become('disconnected');
    peer.become('connected');
    for (const channel of peer.channels) channel.dispatchEvent(new Event('close'));
    expect(links).toEqual(['down', 'up', 'lost']);
  });

  it('gives up when no path is found', async () => {
    vi.useFakeTimers();
    answers = [created()];
    peer.setRemoteDescription = () => Promise.resolve();
    const failed = expect(make().open(signal)).rejects.toMatchObject({ code: 'no_path' });
    await vi.advanceTimersByTimeAsync(12_000);
    await failed;
    vi.useRealTimers();
  });

  it('deletes itself once, also from a page that is being left', async () => {
    answers = [created(), new Response(null, { status: 200 })];
    const session = make();
    await session.open(signal);
    await session.close();
    await session.close();
    expect(calls).toHaveLength(2);
    expect(calls[1]?.init).toMatchObject({ method: 'DELETE', keepalive: true });
  });

  it('goes without a word when it is told to', async () => {
    answers = [created()];
    const session = make();
    await session.open(signal);
    await session.close(false);
    expect(calls).toHaveLength(1);
  });
});

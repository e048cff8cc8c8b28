import { describe, expect, it } from 'vitest';
import { fragmentOf, trickleOf, withFragment } from './sdpfrag.ts';

const local = [
  'v=0',
  'o=- 1 2 IN IP4 127.0.0.1',
  's=-',
  't=0 0',
  'a=group:BUNDLE 0 1',
  'a=ice-options:trickle',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111',
  'c=IN IP4 0.0.0.0',
  'a=mid:0',
  'a=ice-ufrag:abcd',
  'a=ice-pwd:0123456789012345678901',
  'a=candidate:1 1 udp 2122260223 10.0.0.1 50000 typ host',
  'a=end-of-candidates',
  'm=video 9 UDP/TLS/RTP/SAVPF 96',
  'a=mid:1',
  'a=ice-ufrag:abcd',
  'a=candidate:1 1 udp 2122260223 10.0.0.1 50000 typ host',
].join('\r\n');

describe('fragmentOf', () => {
  it('keeps the transport of the bundle and nothing else', () => {
    expect(fragmentOf(local).trim().split('\r\n')).toEqual([
      'a=group:BUNDLE 0 1',
      'a=ice-options:trickle',
      'm=audio 9 UDP/TLS/RTP/SAVPF 111',
      'a=mid:0',
      'a=ice-ufrag:abcd',
      'a=ice-pwd:0123456789012345678901',
      'a=candidate:1 1 udp 2122260223 10.0.0.1 50000 typ host',
      'a=end-of-candidates',
    ]);
  });

  it('tells of later candidates with the same credentials', () => {
    expect(
      trickleOf(local, ['candidate:2 1 udp 1 192.0.2.1 9 typ relay'], true).trim().split('\r\n'),
    ).toEqual([
      'a=group:BUNDLE 0 1',
      'm=audio 9 UDP/TLS/RTP/SAVPF 111',
      'a=mid:0',
      'a=ice-ufrag:abcd',
      'a=ice-pwd:0123456789012345678901',
      'a=candidate:2 1 udp 1 192.0.2.1 9 typ relay',
      'a=end-of-candidates',
    ]);
  });

  it('refuses a description without credentials', () => {
    expect(() => fragmentOf('v=0\r\nm=audio 9 X 0\r\n')).toThrow(/credentials/);
  });
});

describe('withFragment', () => {
  const fragment = [
    'a=ice-ufrag:wxyz',
    'a=ice-pwd:abcdefghijklmnopqrstuv',
    'm=audio 9 UDP/TLS/RTP/SAVPF 0',
    'a=mid:0',
    'a=candidate:2 1 udp 1 192.0.2.1 8189 typ host',
    'a=end-of-candidates',
  ].join('\r\n');

  it('replaces credentials everywhere and candidates once', () => {
    const sdp = withFragment(local, fragment);
    expect(sdp.match(/a=ice-ufrag:wxyz/g)).toHaveLength(2);
    expect(sdp).not.toContain('abcd\r\n');
    expect(sdp.match(/a=candidate:/g)).toHaveLength(1);
    expect(sdp).toContain('192.0.2.1');
    expect(sdp.indexOf('192.0.2.1')).toBeLessThan(sdp.indexOf('m=video'));
    expect(sdp).toContain('o=- 1 2 IN IP4');
  });

  it('refuses a fragment without credentials', () => {
    expect(() => withFragment(local, 'a=mid:0')).toThrow(/credentials/);
  });
});

import { describe, expect, it } from 'vitest';
import { withStartBitrate } from './whip.ts';

describe('withStartBitrate', () => {
  it('speaks to each video codec once and leaves the rest alone', () => {
    const sdp = [
      'm=video 9 UDP/TLS/RTP/SAVPF 96 97 108',
      'a=rtpmap:96 VP8/90000',
      'a=rtpmap:97 rtx/90000',
      'a=fmtp:97 apt=96',
      'a=rtpmap:108 H264/90000',
      'a=fmtp:108 packetization-mode=1',
      'm=audio 9 UDP/TLS/RTP/SAVPF 111',
      'a=rtpmap:111 opus/48000/2',
      'a=fmtp:111 useinbandfec=1',
      '',
    ].join('\r\n');
    expect(withStartBitrate(sdp, 1500).split('\r\n')).toEqual([
      'm=video 9 UDP/TLS/RTP/SAVPF 96 97 108',
      'a=rtpmap:96 VP8/90000',
      'a=fmtp:96 x-google-start-bitrate=1500',
      'a=rtpmap:97 rtx/90000',
      'a=fmtp:97 apt=96',
      'a=rtpmap:108 H264/90000',
      'a=fmtp:108 packetization-mode=1;x-google-start-bitrate=1500',
      'm=audio 9 UDP/TLS/RTP/SAVPF 111',
      'a=rtpmap:111 opus/48000/2',
      'a=fmtp:111 useinbandfec=1',
      '',
    ]);
  });
});

import { describe, expect, it } from 'vitest';
import { UplinkMeter, mediaBytes, pathBytes, pathOf } from './stats.ts';

type Reports = Parameters<UplinkMeter['read']>[0];

function sample(bytesSent: number, reason = 'none', fractionLost = 0): Reports {
  return new Map(
    Object.entries({
      v: {
        type: 'outbound-rtp',
        kind: 'video',
        bytesSent,
        frameHeight: 540,
        qualityLimitationReason: reason,
        codecId: 'c',
      },
      c: { type: 'codec', mimeType: 'video/VP8' },
      r: { type: 'remote-inbound-rtp', fractionLost },
    }),
  );
}

describe('UplinkMeter', () => {
  it('measures bits per second between two calls', () => {
    const meter = new UplinkMeter();
    expect(meter.read(sample(1000), 10_000).bitrate).toBe(0);
    expect(meter.read(sample(251_000), 12_000)).toEqual({
      quality: 'good',
      height: 540,
      bitrate: 1_000_000,
      codec: 'VP8',
    });
  });

  it('calls an uplink weak only when it stays so after the start', () => {
    const meter = new UplinkMeter();
    const at = (seconds: number, reason: string) =>
      meter.read(sample(0, reason), 1000 + seconds * 1000).quality;
    expect(at(0, 'bandwidth')).toBe('measuring');
    expect(at(10, 'bandwidth')).toBe('measuring');
    expect(at(12, 'none')).toBe('good');
    expect(at(30, 'bandwidth')).toBe('good');
    expect(at(37, 'bandwidth')).toBe('lowered');
    expect(at(40, 'none')).toBe('good');
  });

  it('tells loss from a lowered picture', () => {
    const meter = new UplinkMeter();
    meter.read(sample(0), 1000);
    meter.read(sample(0, 'none', 0.2), 30_000);
    expect(meter.read(sample(0, 'none', 0.2), 40_000).quality).toBe('lossy');
  });
});

describe('bytes', () => {
  it('counts media, and says nothing where the browser says nothing', () => {
    const all = [
      { type: 'inbound-rtp', bytesReceived: 5 },
      { type: 'inbound-rtp', bytesReceived: 7 },
      { type: 'candidate-pair' },
    ];
    expect(mediaBytes(all)).toBe(12);
    expect(pathBytes(all)).toBeUndefined();
    expect(pathBytes([{ type: 'candidate-pair', bytesReceived: 3 }])).toBe(3);
  });
});

describe('pathOf', () => {
  const over = (local: object, pair: object = {}): Reports =>
    new Map(
      Object.entries({
        t: { type: 'transport', selectedCandidatePairId: 'p' },
        p: { type: 'candidate-pair', localCandidateId: 'l', currentRoundTripTime: 0.0123, ...pair },
        l: { type: 'local-candidate', candidateType: 'host', protocol: 'udp', ...local },
      }),
    );

  it('tells UDP from TCP, and both from a relay', () => {
    expect(pathOf(over({}))).toEqual({ kind: 'udp', roundTrip: 12 });
    expect(pathOf(over({ protocol: 'tcp' }))).toEqual({ kind: 'tcp', roundTrip: 12 });
    expect(pathOf(over({ candidateType: 'relay', relayProtocol: 'tls' }))).toEqual({
      kind: 'relay',
      relay: 'tls',
      roundTrip: 12,
    });
  });

  it('reads how a relay is reached from its address where nothing else says it', () => {
    const relay = (url: string) => pathOf(over({ candidateType: 'relay', url }))?.relay;
    expect(relay('turns:school.example:443?transport=tcp')).toBe('tls');
    expect(relay('turn:school.example:3478?transport=tcp')).toBe('tcp');
    expect(relay('turn:school.example')).toBeUndefined();
  });

  it('finds the pair where the transport does not name it', () => {
    const all = over({}, { nominated: true, state: 'succeeded' });
    all.delete('t');
    expect(pathOf(all)?.kind).toBe('udp');
    expect(pathOf(new Map())).toBeUndefined();
  });
});

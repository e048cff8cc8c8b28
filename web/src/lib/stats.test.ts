import { describe, expect, it } from 'vitest';
import { linesReceived, mediaBytes, pathBytes, pathOf } from './stats.ts';

type Reports = Parameters<typeof pathOf>[0];

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

describe('linesReceived', () => {
  it('takes the shorter side of the picture that comes', () => {
    const video = { type: 'inbound-rtp', kind: 'video' };
    expect(linesReceived([{ ...video, frameWidth: 360, frameHeight: 640 }])).toBe(360);
    expect(linesReceived([{ ...video, frameHeight: 540 }])).toBe(540);
    expect(linesReceived([{ ...video }, { type: 'inbound-rtp', kind: 'audio' }])).toBe(0);
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

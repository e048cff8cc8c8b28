import { describe, expect, it } from 'vitest';
import { type Uplink, UplinkMeter } from './uplink.ts';

type Reports = Parameters<UplinkMeter['read']>[0];

function sample(bytesSent: number, reason = 'none', fractionLost = 0): Reports {
  return new Map(
    Object.entries({
      v: {
        type: 'outbound-rtp',
        kind: 'video',
        bytesSent,
        frameWidth: 960,
        frameHeight: 540,
        qualityLimitationReason: reason,
        codecId: 'c',
      },
      c: { type: 'codec', mimeType: 'video/VP8' },
      r: { type: 'remote-inbound-rtp', fractionLost, roundTripTime: 0.0421 },
      t: { type: 'transport', selectedCandidatePairId: 'p' },
      p: { type: 'candidate-pair', availableOutgoingBitrate: 2_500_000 },
    }),
  );
}

/** Several qualities, of which as many flow as there are numbers of pictures. */
function layers(frames: Record<string, number>, reason = 'none'): Reports {
  const lines: Record<string, number> = { q: 270, h: 540, f: 1080 };
  return new Map(
    Object.entries(frames).map(([rid, framesSent]) => [
      rid,
      {
        type: 'outbound-rtp',
        kind: 'video',
        rid,
        framesSent,
        ...(framesSent > 0 ? { frameHeight: lines[rid]!, frameWidth: lines[rid]! * 2 } : {}),
        bytesSent: framesSent * 1000,
        qualityLimitationReason: reason,
      },
    ]),
  );
}

describe('UplinkMeter', () => {
  it('measures bits per second between two calls', () => {
    const meter = new UplinkMeter();
    expect(meter.read(sample(1000), 10_000).bitrate).toBe(0);
    expect(meter.read(sample(251_000), 12_000)).toMatchObject({
      state: 'good',
      lines: 540,
      bitrate: 1_000_000,
      codec: 'VP8',
      available: 2_500_000,
      roundTrip: 42,
    });
  });

  it('calls an uplink weak only when it stays so after the start, and well when that lasts', () => {
    const meter = new UplinkMeter();
    const at = (seconds: number, reason: string) =>
      meter.read(sample(0, reason), 1000 + seconds * 1000).state;
    expect(at(0, 'bandwidth')).toBe('measuring');
    expect(at(10, 'bandwidth')).toBe('measuring');
    expect(at(12, 'none')).toBe('good');
    expect(at(30, 'bandwidth')).toBe('good');
    expect(at(37, 'bandwidth')).toBe('lowered');
    expect(at(40, 'none')).toBe('lowered');
    expect(at(42, 'bandwidth')).toBe('lowered');
    expect(at(43, 'none')).toBe('lowered');
    expect(at(47, 'none')).toBe('good');
  });

  it('tells loss, a busy computer and a lowered picture apart', () => {
    for (const [reason, lost, state] of [
      ['none', 0.2, 'lossy'],
      ['cpu', 0, 'busy'],
      ['bandwidth', 0, 'lowered'],
    ] as const) {
      const meter = new UplinkMeter();
      meter.read(sample(0), 1000);
      meter.read(sample(0, reason, lost), 30_000);
      expect(meter.read(sample(0, reason, lost), 40_000).state).toBe(state);
    }
  });

  it('says which of several qualities go out', () => {
    const meter = new UplinkMeter();
    let [q, h, f] = [0, 0, 0];
    let now = 1000;
    const on = (seconds: number, flows: string) => {
      let uplink: Uplink | undefined;
      for (let i = 0; i < seconds; i += 2) {
        now += 2000;
        if (flows.includes('q')) q += 60;
        if (flows.includes('h')) h += 60;
        if (flows.includes('f')) f += 60;
        uplink = meter.read(layers({ q, h, f }, 'bandwidth'), now);
      }
      if (!uplink) throw new Error('no time has passed');
      return uplink;
    };
    expect(on(4, 'q').state).toBe('measuring');
    expect(on(4, 'qhf')).toMatchObject({ state: 'all', lines: 1080 });
    expect(on(20, 'q')).toMatchObject({ state: 'small', lines: 270 });
    expect(on(10, 'qh')).toMatchObject({ state: 'fewer', lines: 540 });
    // A camera that stands still says nothing about the uplink.
    expect(on(20, '').state).toBe('fewer');
    const { state, sent } = on(6, 'qhf');
    expect(state).toBe('all');
    expect(sent.map((s) => [s.rid, s.lines, s.rate, s.flows])).toEqual([
      ['f', 1080, 30, true],
      ['h', 540, 30, true],
      ['q', 270, 30, true],
    ]);
  });

  it('does not miss what is not meant to be sent', () => {
    const meter = new UplinkMeter();
    meter.read(layers({ q: 0, h: 0, f: 10 }), 1000, ['q', 'h']);
    const uplink = meter.read(layers({ q: 0, h: 0, f: 40 }), 3000, ['q', 'h']);
    expect(uplink.sent.map(({ rid }) => rid)).toEqual(['f']);
    expect(uplink.state).toBe('good');
  });
});

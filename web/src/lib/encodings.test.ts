import { describe, expect, it } from 'vitest';
import { type Encoding, type Shot, encodingsFor, fit, scarceOf } from './encodings.ts';

const shot = (change: Partial<Shot> = {}): Shot => ({
  content: 'camera',
  lines: 720,
  codec: 'auto',
  several: true,
  scalable: true,
  ...change,
});
const rids = (change: Partial<Shot>) => encodingsFor(shot(change)).map(({ rid }) => rid);

describe('encodingsFor', () => {
  it('sends as many qualities as the picture has lines for', () => {
    expect(rids({ lines: 1080 })).toEqual(['q', 'h', 'f']);
    expect(rids({ lines: 720 })).toEqual(['q', 'h', 'f']);
    expect(rids({ lines: 480 })).toEqual(['h', 'f']);
    expect(rids({ lines: 360 })).toEqual([undefined]);
    expect(rids({ lines: 1080, several: false })).toEqual([undefined]);
  });

  it('halves from quality to quality and bounds each', () => {
    const all = encodingsFor(shot({ lines: 1080 }));
    expect(all.map((e) => e.scaleResolutionDownBy)).toEqual([4, 2, 1]);
    expect(all.map((e) => e.maxBitrate)).toEqual([300_000, 1_000_000, 3_200_000]);
    // The smaller sizes do not cost what the largest gives.
    const small = encodingsFor(shot({ lines: 720 }));
    expect(small.map((e) => e.maxBitrate)).toEqual([180_000, 600_000, 2_200_000]);
  });

  it('names a mode for each encoding of VP9 and AV1, or sends one', () => {
    for (const codec of ['VP9', 'AV1'] as const) {
      expect(encodingsFor(shot({ codec })).map((e) => e.scalabilityMode)).toEqual([
        'L1T3',
        'L1T3',
        'L1T3',
      ]);
      expect(rids({ codec, scalable: false })).toEqual([undefined]);
    }
    expect(rids({ codec: 'VP8', scalable: false })).toEqual(['q', 'h', 'f']);
    expect(encodingsFor(shot({ scalable: false }))[0]).not.toHaveProperty('scalabilityMode');
    expect(encodingsFor(shot({ codec: 'H264' }))[0]).not.toHaveProperty('scalabilityMode');
  });

  it('keeps a screen in one size, with pictures that can be left out', () => {
    expect(encodingsFor(shot({ content: 'screen', lines: 1080 }))).toEqual([
      { maxBitrate: 3_000_000, scalabilityMode: 'L1T3' },
    ]);
  });
});

function parameters(...encodings: Encoding[]): RTCRtpSendParameters {
  return { transactionId: '1', codecs: [], headerExtensions: [], rtcp: {}, encodings };
}
const several = () => parameters(...encodingsFor(shot({ lines: 1080 })));
const sent = (p: RTCRtpSendParameters) =>
  p.encodings.map((e) => [e.rid, e.active, e.scaleResolutionDownBy, e.maxBitrate]);

describe('fit', () => {
  it('leaves what was accepted as it was offered', () => {
    const p = several();
    fit(p, shot({ lines: 1080 }), true);
    expect(sent(p)).toEqual([
      ['q', true, 4, 300_000],
      ['h', true, 2, 1_000_000],
      ['f', true, 1, 3_200_000],
    ]);
  });

  it('sends the whole picture in the one encoding that is left', () => {
    // Browsers keep the first, which was the smallest.
    const p = parameters({ rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 300_000 });
    fit(p, shot({ lines: 1080 }), false);
    expect(sent(p)).toEqual([['q', true, 1, 4_000_000]]);
    const all = several();
    fit(all, shot({ lines: 1080 }), false);
    expect(sent(all).map(([rid, active]) => [rid, active])).toEqual([
      ['q', true],
      ['h', false],
      ['f', false],
    ]);
  });

  it('rests what another track does not need', () => {
    const p = several();
    fit(p, shot({ lines: 480 }), true);
    expect(p.encodings.map((e) => e.active)).toEqual([false, true, true]);
    fit(p, shot({ content: 'screen', lines: 1080 }), true);
    expect(sent(p).at(-1)).toEqual(['f', true, 1, 3_000_000]);
    expect(p.encodings.map((e) => e.active)).toEqual([false, false, true]);
    fit(p, shot({ lines: 1080 }), true);
    expect(p.encodings.map((e) => e.active)).toEqual([true, true, true]);
  });

  it('keeps faces moving and screens sharp', () => {
    const p = several();
    fit(p, shot(), true);
    expect(p.degradationPreference).toBe('maintain-framerate');
    fit(p, shot({ content: 'screen' }), true);
    expect(p.degradationPreference).toBe('maintain-resolution');
  });
});

describe('scarceOf', () => {
  it('takes what is not known for enough', () => {
    expect(scarceOf({})).toBeUndefined();
    expect(scarceOf({ hardwareConcurrency: 8, connection: { effectiveType: '4g' } })).toBe(
      undefined,
    );
  });

  it('tells a small computer from a slow network', () => {
    expect(scarceOf({ hardwareConcurrency: 1 })).toBe('computer');
    expect(scarceOf({ connection: { effectiveType: '2g' } })).toBe('network');
    expect(scarceOf({ connection: { saveData: true } })).toBe('network');
  });
});

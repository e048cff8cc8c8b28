import { describe, expect, it } from 'vitest';
import { bestOf, blindChoice, choiceOf, parseLayers, picturesOf } from './layers.ts';

const layer = (rid: string, lines: number, bitrate: number, temporal = 0) => ({
  rid,
  spatialLayerId: { q: 0, h: 1, f: 2 }[rid] ?? 0,
  temporalLayerId: temporal,
  width: (lines * 16) / 9,
  height: lines,
  ...(bitrate ? { bitrate } : {}),
});
const told = (...layers: object[]) => parseLayers(JSON.stringify({ 1: layers }));

const three = told(
  layer('f', 720, 2_000_000),
  layer('q', 180, 80_000),
  layer('q', 180, 150_000, 1),
  layer('h', 360, 500_000),
);

describe('layers', () => {
  it('reads what the server tells, and nothing else', () => {
    expect(
      told({ spatialLayerId: 0, temporalLayerId: 0, current: true, why: 'bandwidth' }),
    ).toEqual([
      {
        line: '1',
        rid: '',
        spatial: 0,
        temporal: 0,
        bitrate: 0,
        lines: 0,
        current: true,
        why: 'bandwidth',
      },
    ]);
    for (const data of ['', 'null', '[]', '7', '{"1":7}', '{"1":[null,3]}']) {
      expect(parseLayers(data)).toEqual([]);
    }
    expect(told({ bitrate: -1, height: 'tall', rid: 3 })[0]).toMatchObject({
      bitrate: 0,
      lines: 0,
      rid: '',
    });
  });

  it('takes temporal layers for the same picture', () => {
    expect(picturesOf(three).map((l) => [l.rid, l.bitrate])).toEqual([
      ['q', 150_000],
      ['h', 500_000],
      ['f', 2_000_000],
    ]);
  });

  it('knows the best that comes, not the best there was', () => {
    expect(bestOf(picturesOf(three))?.rid).toBe('f');
    const held = told(layer('q', 180, 1), layer('h', 360, 1), layer('f', 720, 0));
    expect(bestOf(picturesOf(held))?.rid).toBe('h');
    expect(choiceOf('high', held)).toEqual({ mediaId: '1', rid: 'h' });
  });

  it('asks for the largest, for at most the smallest, or for nothing', () => {
    expect(choiceOf('auto', three)).toEqual({});
    expect(choiceOf('high', three)).toEqual({ mediaId: '1', rid: 'f' });
    expect(choiceOf('low', three)).toEqual({ mediaId: '1', maxHeight: 180 });
  });

  it('names spatial layers where there are no rids, and no sizes', () => {
    const spatial = told({ spatialLayerId: 0, bitrate: 1 }, { spatialLayerId: 1, bitrate: 5 });
    expect(choiceOf('low', spatial)).toEqual({ mediaId: '1', spatialLayerId: 0 });
    expect(choiceOf('high', spatial)).toEqual({ mediaId: '1', spatialLayerId: 1 });
  });

  it('has nothing to choose where one picture is sent', () => {
    const one = told(layer('', 720, 9), layer('', 720, 19, 1));
    expect(picturesOf(one)).toHaveLength(1);
    expect(choiceOf('low', one)).toEqual({});
    expect(choiceOf('high', one)).toEqual({});
  });

  it('bounds what it does not know: fewer pictures of a screen, fewer lines of a camera', () => {
    expect(blindChoice('low', 'screen')).toEqual({ maxTemporalLayerId: 0 });
    expect(blindChoice('low', 'main')).toEqual({ maxHeight: 360 });
    expect(blindChoice('high', 'main')).toEqual({});
    expect(blindChoice('auto', 'screen')).toEqual({});
  });
});

import { describe, expect, it } from 'vitest';
import { LevelMeter, loudness } from './meter.ts';

describe('loudness', () => {
  it('is 0 for silence, 1 for full scale, and grows by decibels', () => {
    expect(loudness(new Float32Array(64))).toBe(0);
    expect(loudness(new Float32Array(64).fill(1))).toBe(1);
    expect(loudness(new Float32Array(64).fill(0.1))).toBeCloseTo(1 - 20 / 60, 3);
  });
});

describe('LevelMeter', () => {
  it('notices silence, and that it has ended', () => {
    let value = 0;
    const analyser = {
      fftSize: 32,
      getFloatTimeDomainData: (samples: Float32Array) => void samples.fill(value),
    };
    const meter = new LevelMeter(analyser, 0);
    meter.read(4000);
    expect(meter.silentFor(5000, 4000)).toBe(false);
    expect(meter.silentFor(5000, 5000)).toBe(true);
    value = 0.5;
    expect(meter.read(5100)).toBeGreaterThan(0.8);
    expect(meter.silentFor(5000, 5100)).toBe(false);
    value = 0;
    expect(meter.read(5200)).toBeGreaterThan(0.5);
  });
});

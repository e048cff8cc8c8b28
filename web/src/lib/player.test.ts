import { describe, expect, it, vi } from 'vitest';

// Shaka wants a browser as soon as it is loaded.
vi.mock('shaka-player/dist/shaka-player.dash-es2021.js', () => ({ default: {} }));
const { correction } = await import('./player.ts');

describe('correction', () => {
  it.each([
    [0.01, { rate: 1, jump: false }],
    [-0.01, { rate: 1, jump: false }],
    [0.05, { rate: 1.05, jump: false }],
    [-0.3, { rate: 0.9, jump: false }],
    [0.4, { rate: 1.1, jump: false }],
    [0.6, { rate: 1, jump: true }],
    [-2, { rate: 1, jump: true }],
  ])('%f s behind', (behind, want) => expect(correction(behind)).toEqual(want));
});

import { describe, expect, it } from 'vitest';
import { bytesToHex } from '@noble/hashes/utils.js';
import { digest } from './digest.ts';

describe('digest', () => {
  it.each([0, 5, (32 << 20) + 3])('of %i bytes is SHA-256', async (size) => {
    const data = new Uint8Array(size).fill(7);
    const want = bytesToHex(new Uint8Array(await crypto.subtle.digest('SHA-256', data)));
    expect(await digest(new Blob([data]))).toBe(want);
  });

  it('stops when it is called off', async () => {
    const stop = AbortSignal.abort();
    await expect(digest(new Blob([new Uint8Array((32 << 20) + 1)]), stop)).rejects.toThrow();
  });
});

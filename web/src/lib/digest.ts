import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';

/** Up to this size WebCrypto does it in one go, which is faster; above, memory counts. */
const AT_ONCE = 32 << 20;
const PIECE = 1 << 20;

/**
 * SHA-256 of a file in hex, without ever holding a large one in memory.
 * progress gets the part done, 0 to 1.
 */
export async function digest(
  file: Blob,
  signal?: AbortSignal,
  progress?: (done: number) => void,
): Promise<string> {
  // subtle is missing on pages that are not secure.
  if (file.size <= AT_ONCE && globalThis.crypto?.subtle) {
    const sum = await crypto.subtle.digest('SHA-256', await file.arrayBuffer());
    signal?.throwIfAborted();
    return bytesToHex(new Uint8Array(sum));
  }
  const hash = sha256.create();
  for (let at = 0; at < file.size; at += PIECE) {
    signal?.throwIfAborted();
    hash.update(new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer()));
    progress?.(Math.min(1, (at + PIECE) / file.size));
  }
  return bytesToHex(hash.digest());
}

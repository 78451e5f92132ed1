/** Randomness in small portions. */
import { randomFillSync } from 'node:crypto';

const POOL_BYTES = 4_096;

/**
 * Bytes of the system's generator, drawn 4 KiB at a time: one draw costs as much as a page of them. What was handed out
 * is erased here at once. For serial numbers and nonces; keys are drawn by what makes them. Blocks.
 */
export function pooledRandom(
  fill: (pool: Uint8Array) => void = randomFillSync,
): (size: number) => Uint8Array {
  const pool = new Uint8Array(POOL_BYTES);
  let left = 0;
  return (size) => {
    if (size > left) {
      if (size > POOL_BYTES) {
        const own = new Uint8Array(size);
        fill(own);
        return own;
      }
      fill(pool);
      left = POOL_BYTES;
    }
    left -= size;
    const drawn = pool.slice(left, left + size);
    pool.fill(0, left, left + size);
    return drawn;
  };
}

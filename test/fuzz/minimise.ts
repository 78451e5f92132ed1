/** Makes a finding small enough to read: parts are taken away, then bytes made plain, for as long as it stays one. */

const MAX_TRIES = 2_000;
const MAX_MS = 2_000;

export async function minimise(
  input: Uint8Array,
  same: (smaller: Uint8Array) => Promise<boolean>,
): Promise<Uint8Array> {
  const end = performance.now() + MAX_MS;
  let tries = 0;
  let best = input;
  const better = async (candidate: Uint8Array): Promise<boolean> => {
    if (tries >= MAX_TRIES || performance.now() > end) return false;
    tries += 1;
    if (!(await same(candidate))) return false;
    best = candidate;
    return true;
  };
  for (let size = best.length; size >= 1; size = Math.floor(size / 2))
    for (let at = 0; at < best.length; ) {
      const without = Buffer.concat([best.subarray(0, at), best.subarray(at + size)]);
      if (!(await better(without))) at += size;
    }
  for (let at = 0; at < best.length && best.length <= 256; at += 1) {
    const plain = Uint8Array.from(best);
    plain[at] = 0x30;
    if (best[at] !== 0x30) await better(plain);
  }
  return best;
}

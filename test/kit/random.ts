/** Randomness that can be repeated: mulberry32, for fuzzing with a seed that a failing run prints. */
export interface Random {
  /** A whole number from 0 to `below` - 1. */
  int(below: number): number;
  bytes(length: number): Uint8Array;
  pick<T>(items: readonly [T, ...T[]]): T;
}

export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const int = (below: number): number => next() % below;
  return {
    int,
    bytes: (length) => Uint8Array.from({ length }, () => int(256)),
    pick: (items) => items[int(items.length)] ?? items[0],
  };
}

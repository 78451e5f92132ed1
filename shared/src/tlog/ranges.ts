/** Which subtrees a proof consists of: RFC 9162 sections 2.1.3.1 and 2.1.4.1, without the hashes. */

/** The entries from `from` to before `to`. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** A complete subtree: `2 ** height` entries, `index` of these before it. */
export interface Subtree {
  readonly height: number;
  readonly index: number;
}

/** From the sibling of the leaf to the child of the root. The caller has checked that 0 <= index < size. */
export function inclusionRanges(index: number, size: number): readonly Range[] {
  const ranges: Range[] = [];
  let [from, to] = [0, size];
  while (to - from > 1) {
    const middle = from + powerBelow(to - from);
    if (index < middle) {
      ranges.push({ from: middle, to });
      to = middle;
    } else {
      ranges.push({ from, to: middle });
      from = middle;
    }
  }
  return ranges.toReversed();
}

/** In the order of the proof. The caller has checked that 0 < size1 < size2. */
export function consistencyRanges(size1: number, size2: number): readonly Range[] {
  const ranges: Range[] = [];
  let [from, to, isWhole] = [0, size2, true];
  while (size1 < to) {
    const middle = from + powerBelow(to - from);
    if (size1 <= middle) {
      ranges.push({ from: middle, to });
      to = middle;
    } else {
      ranges.push({ from, to: middle });
      from = middle;
      isWhole = false;
    }
  }
  if (!isWhole) ranges.push({ from, to });
  return ranges.toReversed();
}

/** The complete subtrees that a range of a proof, or a whole tree, consists of: left to right. */
export function subtreesOf({ from, to }: Range): readonly Subtree[] {
  const subtrees: Subtree[] = [];
  for (let at = from; at < to; ) {
    const height = Math.floor(Math.log2(to - at));
    // Rounded up for numbers near 2 ** 53.
    const fits = 2 ** height <= to - at ? height : height - 1;
    subtrees.push({ height: fits, index: at / 2 ** fits });
    at += 2 ** fits;
  }
  return subtrees;
}

/** The greatest power of two that is less than `n`, for n > 1. */
function powerBelow(n: number): number {
  let power = 1;
  while (power * 2 < n) power *= 2;
  return power;
}

/** What somebody who mistyped a word may have meant. */

const MOST_CHANGES = 2;

/** The known word with the fewest changed, added, missing or swapped letters; undefined if none is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const [best] = known
    .map((each) => ({ each, changes: distance(word, each) }))
    .filter(({ each, changes }) => changes <= MOST_CHANGES && changes < each.length)
    .toSorted((a, b) => a.changes - b.changes);
  return best?.each;
}

/** Optimal string alignment: Levenshtein's distance, where two swapped neighbours are one change. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  const at = (i: number, j: number): number => rows[i]?.[j] ?? Number.POSITIVE_INFINITY;
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : at(-1, 0);
      row.push(Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + same, swapped));
    }
  }
  return at(a.length, b.length);
}

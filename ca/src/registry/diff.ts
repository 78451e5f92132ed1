/** What would change, in text for a person: by resource and line. */
import { stringify } from 'yaml';
import { Breath } from './breath.ts';
import { keyOf, type Resource } from './resources.ts';

export interface Change {
  readonly change: 'added' | 'changed' | 'removed';
  /** Kind/name. */
  readonly key: string;
  readonly kind: string;
  readonly name: string;
  /** Lines that start with "-", "+" or a space. */
  readonly diff: string;
}

/** Lets other work run between resources: a set may have thousands. */
export async function diffOf(
  before: readonly Resource[],
  after: readonly Resource[],
): Promise<readonly Change[]> {
  const old = new Map(before.map((each) => [keyOf(each), each]));
  const now = new Map(after.map((each) => [keyOf(each), each]));
  const breath = new Breath();
  const changes: Change[] = [];
  for (const key of [...new Set([...old.keys(), ...now.keys()])].toSorted()) {
    const [from, to] = [old.get(key), now.get(key)];
    if (JSON.stringify(from) !== JSON.stringify(to)) changes.push(...changeOf(key, from, to));
    await breath.take();
  }
  return changes;
}

function changeOf(key: string, from: Resource | undefined, to: Resource | undefined): readonly Change[] {
  const [was, is] = [from ? stringify(from) : '', to ? stringify(to) : ''];
  const { kind, name } = to ?? from ?? { kind: '', name: '' };
  if (was === is) return [];
  const change = from === undefined ? 'added' : to === undefined ? 'removed' : 'changed';
  return [{ change, key, kind, name, diff: lineDiff(linesOf(was), linesOf(is)) }];
}

const linesOf = (text: string): readonly string[] => text.split('\n').slice(0, -1);

/** Longest common subsequence; most resources have tens of lines, so the square is small. */
function lineDiff(a: readonly string[], b: readonly string[]): string {
  const best: number[][] = Array.from({ length: a.length + 1 }, () =>
    new Array<number>(b.length + 1).fill(0),
  );
  const at = (i: number, j: number): number => best[i]?.[j] ?? 0;
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const row = best[i];
      if (row) row[j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  const out: string[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push(` ${a[i]}`);
      i += 1;
      j += 1;
    } else if (i < a.length && (j === b.length || at(i + 1, j) >= at(i, j + 1))) out.push(`-${a[i++]}`);
    else out.push(`+${b[j++]}`);
  }
  return out.join('\n');
}

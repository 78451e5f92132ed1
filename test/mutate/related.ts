/**
 * Which tests answer for a file: first those beside it, because they are quick; then those others that get to it by the
 * fewest imports. Imports of types alone do not count, for they run nothing.
 */
import { posix } from 'node:path';

/** Paths from the root, and what is in them. */
export type Sources = ReadonlyMap<string, string>;

/** For a file, the tests that answer for it, in goes. */
export function testsBySource(sources: Sources): (file: string) => readonly (readonly string[])[] {
  const importers = importersIn(sources);
  return (file) => {
    const isBeside = (test: string): boolean => posix.dirname(test) === posix.dirname(file);
    const beside = [...sources.keys()].filter((path) => isTest(path) && isBeside(path));
    let nearest: readonly string[] = [];
    let step = new Set([file]);
    const known = new Set([file, ...beside]);
    while (step.size > 0 && nearest.length === 0) {
      const next = [...step].flatMap((path) => importers.get(path) ?? []);
      step = new Set(next.filter((path) => !known.has(path)));
      for (const path of step) known.add(path);
      nearest = [...step].filter(isTest).toSorted();
    }
    return [beside, nearest].filter((tests) => tests.length > 0);
  };
}

const isTest = (path: string): boolean => path.endsWith('.test.ts');

function importersIn(sources: Sources): ReadonlyMap<string, readonly string[]> {
  const importers = new Map<string, string[]>();
  for (const [path, text] of sources)
    for (const imported of importsOf(path, text)) {
      const known = importers.get(imported) ?? [];
      known.push(path);
      importers.set(imported, known);
    }
  return importers;
}

/** `import ... from`, `export ... from`, `import '...'` and `import('...')`, of files of this repository. */
const IMPORT = /(?:^(?:import|export) (?!type )(?:[^'";]* from )?|\bimport\()'([^']+\.ts)'/gm;

function importsOf(path: string, text: string): readonly string[] {
  return [...text.matchAll(IMPORT)].flatMap(([, to = '']) => {
    if (to.startsWith('.')) return [posix.join(posix.dirname(path), to)];
    const ours = /^@chancery\/([^/]+)\/(.*)$/.exec(to);
    return ours === null ? [] : [`${ours[1]}/src/${ours[2]}`];
  });
}

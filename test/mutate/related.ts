/**
 * Which tests answer for a file: first those beside it, because they are quick; then those that get to it by the fewest
 * imports, and those by the next fewest. Imports of types alone do not count, for they run nothing.
 */
import { posix } from 'node:path';

/** Paths from the root, and what is in them. */
export type Sources = ReadonlyMap<string, string>;

/** Beyond the tests beside a file. */
const MAX_GOES = 2;

/** For a file, the tests that answer for it, in goes. */
export function testsBySource(sources: Sources): (file: string) => readonly (readonly string[])[] {
  const importers = importersIn(sources);
  return (file) => {
    const isBeside = (test: string): boolean => posix.dirname(test) === posix.dirname(file);
    const beside = [...sources.keys()].filter((path) => isTest(path) && isBeside(path));
    const goes = [beside];
    let step = new Set([file]);
    const known = new Set([file, ...beside]);
    while (step.size > 0 && goes.length <= MAX_GOES) {
      step = new Set(
        [...step].flatMap((path) => importers.get(path) ?? []).filter((path) => !known.has(path)),
      );
      for (const path of step) known.add(path);
      goes.push([...step].filter(isTest).toSorted());
      if (goes.at(-1)?.length === 0) goes.pop();
    }
    return goes.filter((tests) => tests.length > 0);
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

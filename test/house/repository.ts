/** The repository as the house rules see it: what git tracks, and what it would track if it were added now. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../', import.meta.url));

/** Paths from the root, sorted. A file that is deleted but not yet committed is gone. */
export function paths(pattern: RegExp): readonly string[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  return [...new Set(listed.split('\0'))]
    .filter((path) => path !== '' && pattern.test(path) && existsSync(join(root, path)))
    .toSorted();
}

export const textOf = (path: string): string => readFileSync(join(root, path), 'utf8');

/** Our TypeScript, without what buf generates. */
export const sources = (): readonly string[] =>
  paths(/\.ts$/).filter((path) => !path.startsWith('proto/src/gen/'));

export const isTest = (path: string): boolean => path.endsWith('.test.ts');

export interface Import {
  /** A path from the root for a file of ours, else the specifier as written. */
  readonly to: string;
  readonly ours: boolean;
}

/** Ours has single quotes, generated code double ones. */
const STATEMENTS = [
  /^\s*(?:import|export)\b[^'"`;]*?\bfrom\s+(?<quote>['"])(?<specifier>[^'"$]+)\k<quote>/gm,
  /^\s*import\s+(?<quote>['"])(?<specifier>[^'"$]+)\k<quote>/gm,
  /\b(?:import|require|resolve)\(\s*(?<quote>['"])(?<specifier>[^'"$]+)\k<quote>/g,
];
const WORKSPACE = /^@chancery\/([a-z]+)\//;

/** Type-only imports count: what cannot be understood without another file depends on it. */
export function importsOf(path: string): readonly Import[] {
  const text = textOf(path);
  const found = STATEMENTS.flatMap((statement) =>
    [...text.matchAll(statement)].map(({ groups }) => groups?.['specifier'] ?? ''),
  );
  return found.map((specifier) => {
    if (specifier.startsWith('.')) return { to: posix.join(posix.dirname(path), specifier), ours: true };
    if (WORKSPACE.test(specifier)) return { to: specifier.replace(WORKSPACE, '$1/src/'), ours: true };
    return { to: specifier, ours: false };
  });
}

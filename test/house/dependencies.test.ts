/** docs/dependencies.md names every dependency of every package, who imports it, and nothing else. */
import { isBuiltin } from 'node:module';
import { posix } from 'node:path';
import { describe, expect, test } from 'vitest';
import { blocksOf, rowsUnder } from './markdown.ts';
import { importsOf, isTest, paths, textOf } from './repository.ts';

const PACKAGES = ['.', ...paths(/^[a-z]+\/package\.json$/).map((path) => posix.dirname(path))];
const page = textOf('docs/dependencies.md');

const manifest = (folder: string): Record<string, Record<string, string> | undefined> =>
  JSON.parse(textOf(posix.join(folder, 'package.json')));

/** Ours are packages of this workspace, not dependencies. */
const declared = (folder: string): readonly string[] =>
  ['dependencies', 'optionalDependencies', 'devDependencies']
    .map((list) => manifest(folder)[list])
    .flatMap((list) => Object.keys(list ?? {}))
    .filter((name) => !name.startsWith('@chancery/'));

/** `@scope/name/path` and `name/path` to the package's name. */
const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

/** Every import of a package that is neither ours nor Node's. */
const imported = paths(/^[a-z]+\/.*\.ts$/).flatMap((path) =>
  importsOf(path)
    .filter(({ ours, to }) => !ours && !isBuiltin(to))
    .map(({ to }) => ({ path, folder: path.split('/')[0] ?? '', name: packageOf(to) })),
);

const filesThatImport = (folder: string, name: string): readonly string[] =>
  imported.filter((each) => each.folder === folder && each.name === name).map(({ path }) => path);

/** Generated files lie a package name deep; their folder is where they begin. */
const folderOf = (path: string): string =>
  path.startsWith('proto/src/gen/') ? 'proto/src/gen' : posix.dirname(path);

/** As the page writes them. Tests come and go. */
const foldersThatImport = (folder: string, name: string): string =>
  [
    ...new Set(
      filesThatImport(folder, name)
        .filter((path) => !isTest(path))
        .map(folderOf),
    ),
  ]
    .toSorted()
    .map((each) => `\`${each}\``)
    .join(', ');

describe.each(PACKAGES)('%s', (folder) => {
  const rows = rowsUnder(page, folder === '.' ? 'Development' : folder);

  test('the page names what package.json does', () => {
    expect(rows.map(([name = '']) => name.replaceAll('`', '')).toSorted()).toEqual(
      declared(folder).toSorted(),
    );
  });

  test('every dependency has a reason', () => {
    expect(rows.filter(([, reason = '']) => reason.length < 10)).toEqual([]);
  });
});

/** Who imports what tests need is seen in the tests. */
describe.each(PACKAGES.filter((folder) => !['.', 'test'].includes(folder)))('%s', (folder) => {
  test('the page names who imports a dependency', () => {
    const rows = rowsUnder(page, folder);
    const told = rows.map(([name = '', , folders = '']) => [name, folders]);
    const found = rows.map(([name = '']) => [name, foldersThatImport(folder, name.replaceAll('`', ''))]);
    expect(told).toEqual(found);
  });
});

test('no package imports what it does not declare', () => {
  const tools = declared('.');
  const borrowed = imported
    .filter(({ folder, name }) => !declared(folder).includes(name))
    .filter(({ path, name }) => !(tools.includes(name) && (isTest(path) || path.startsWith('test/'))));
  expect(borrowed).toEqual([]);
});

/** Tests run the programs of the guides, with the packages of `test`. */
const printed = paths(/^docs\/guides\/.*\.md$/)
  .flatMap((page) => blocksOf(textOf(page)))
  .filter(({ kind }) => kind.startsWith('ts '))
  .flatMap(({ text }) => [...text.matchAll(/^import .* from '([^']+)';$/gm)].map(([, name = '']) => name));

test('nothing is declared that nobody imports', () => {
  const idle = PACKAGES.filter((folder) => folder !== '.').flatMap((folder) =>
    declared(folder)
      .filter((name) => filesThatImport(folder, name).length === 0)
      .filter((name) => !(folder === 'test' && printed.includes(name)))
      .map((name) => `${folder}: ${name}`),
  );
  expect(idle).toEqual([]);
});

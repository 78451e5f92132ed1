/** Files, folders and lines stay as small as a reader can hold in mind, and each file opens with what it is for. */
import { posix } from 'node:path';
import { expect, test } from 'vitest';
import { isTest, sources, textOf } from './repository.ts';

const MAX_LINES = { source: 300, test: 500 };
const MAX_FILES = 12;
const MAX_COLUMNS = 120;
/** Constant tables: they are read by looking something up. */
const TABLES = ['test/vectors/limbo-skipped.ts'];

const all = sources();
const lines = (path: string): readonly string[] => textOf(path).replace(/\n$/, '').split('\n');

test('no file is too long', () => {
  const long = all
    .filter((path) => !TABLES.includes(path))
    .map((path) => ({
      path,
      length: lines(path).length,
      most: isTest(path) ? MAX_LINES.test : MAX_LINES.source,
    }))
    .filter(({ length, most }) => length > most);
  expect(long).toEqual([]);
});

test('no folder holds too many source files', () => {
  const counts = Map.groupBy(
    all.filter((path) => !isTest(path)),
    (path) => posix.dirname(path),
  );
  const full = [...counts].filter(([, files]) => files.length > MAX_FILES).map(([folder]) => folder);
  expect(full).toEqual([]);
});

/** A row of a test's table may be wider: it reads better as one line. */
test('no line is too wide', () => {
  const wide = all
    .filter((path) => !isTest(path) && !TABLES.includes(path))
    .flatMap((path) =>
      lines(path).flatMap((line, index) => (line.length > MAX_COLUMNS ? [`${path}:${index + 1}`] : [])),
    );
  expect(wide).toEqual([]);
});

/** A test file's names say what it is for; a program may begin with its `#!`. */
test('every source file opens with what it is for', () => {
  const silent = all
    .filter((path) => path.includes('/') && !isTest(path))
    .filter((path) => !/^(#!.*\n)?\/\*\*/.test(textOf(path)));
  expect(silent).toEqual([]);
});

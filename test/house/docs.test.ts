/** What the documents say is so: printed pages are fresh, links lead somewhere, and nothing names where it was made. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { anchorsOf, linksOf, target } from './markdown.ts';
import { pages } from './reference.ts';
import { isTest, paths, root, sources, textOf } from './repository.ts';

const documents = paths(/\.md$/).filter((path) => !path.startsWith('test/vectors/'));

describe('printed pages are what `npm run generate` prints', () => {
  test.each(Object.entries(pages()))('%s', (path, text) => {
    expect(textOf(path)).toBe(text);
  });
});

test('relative links lead to files and headings that are there', () => {
  const broken = documents.flatMap((page) =>
    linksOf(textOf(page))
      .filter((link) => !/^(https?|mailto):/.test(link))
      .filter((link) => !leads(target(page, link)))
      .map((link) => `${page}: ${link}`),
  );
  expect(broken).toEqual([]);
});

function leads({ path, anchor }: { path: string; anchor: string }): boolean {
  if (!existsSync(join(root, path))) return false;
  return anchor === '' || anchorsOf(textOf(path)).includes(anchor);
}

test('every page of docs/ is reached from the README', () => {
  const reached = new Set<string>();
  const visit = (page: string): void => {
    if (reached.has(page) || !page.endsWith('.md') || !existsSync(join(root, page))) return;
    reached.add(page);
    for (const link of linksOf(textOf(page)))
      if (!/^(https?|mailto):/.test(link)) visit(target(page, link).path);
  };
  visit('README.md');
  expect(documents.filter((page) => page.startsWith('docs/') && !reached.has(page))).toEqual([]);
});

test('every bad input that docs/attacks.md lists has a test of its number', () => {
  const tests = sources().filter(isTest).map(textOf).join('\n');
  const rows = [...textOf('docs/attacks.md').matchAll(/^\| ([TCIM]\d+) \|/gm)].map(([, row = '']) => row);
  expect(rows.length).toBeGreaterThan(120);
  expect(rows.filter((row) => !new RegExp(`\\b${row}\\b`).test(tests))).toEqual([]);
});

test('the rows of each table of docs/attacks.md are in order, each once', () => {
  const tables = textOf('docs/attacks.md').split(/^#+ .*$/m);
  const numbers = tables.map((table) =>
    [...table.matchAll(/^\| [TCIM](\d+) \|/gm)].map(([, number]) => Number(number)),
  );
  expect(numbers).toEqual(numbers.map((each) => [...new Set(each)].toSorted((a, b) => a - b)));
});

/** SPIFFE's own documents are cited by their names, and those that MCP's reference server serves. */
const FOREIGN = /^(X509-SVID|JWT-SVID|SPIFFE[-_A-Za-z]*|features|startup)\.md$/;

test('documents that comments cite are in docs/', () => {
  const cited = sources().flatMap((path) =>
    [...textOf(path).matchAll(/(?<![\w/.-])(?:docs\/)?([\w-]+\.md)\b/g)].map(([, name = '']) => ({
      path,
      name,
    })),
  );
  const missing = cited
    .filter(({ name }) => !FOREIGN.test(name))
    .filter(({ name }) => !documents.some((page) => page === name || page === `docs/${name}`));
  expect(missing).toEqual([]);
});

/** Escaped, so that this file does not find itself. */
const FOREIGN_PLACES = [
  {
    what: 'a package registry',
    pattern: /\bnpmjs\.|https?:\/\/[\w.-]*(registry|artifact|mirror)[\w.-]*/i,
  },
  { what: 'a folder of one machine', pattern: /(^|[\s'"`(=])\/(work|home\/\w+|root)\// },
  { what: 'a number of a tracker', pattern: /(?<!PKCS )(?<=^|[\s(])#\d{1,6}\b/ },
];

test.each(FOREIGN_PLACES)('no file names $what', ({ pattern }) => {
  const files = paths(/\.(ts|mjs|md|json|ya?ml|proto|sh)$|^\.ci\//).filter(
    (path) => !path.startsWith('test/vectors/') && !path.startsWith('proto/src/gen/'),
  );
  const found = files.flatMap((path) =>
    textOf(path)
      .split('\n')
      .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
  expect(found).toEqual([]);
});

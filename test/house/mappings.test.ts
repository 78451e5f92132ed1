/** docs/mappings.md: every test that it names is there, and a row without one says that it is not covered. */
import { describe, expect, test } from 'vitest';
import { rowsUnder } from './markdown.ts';
import { isTest, sources, textOf } from './repository.ts';

const page = textOf('docs/mappings.md');
/** How many items each list has; of the last one only some are taken. */
const LISTS: readonly [string, RegExp, number][] = [
  ['OWASP MCP Top 10', /^MCP\d\d:2025 /, 10],
  ['OWASP Top 10 for Agentic Applications', /^ASI\d\d /, 10],
  ['OWASP Non-Human Identities Top 10', /^NHI\d+:2025 /, 10],
  ['NIST SP 800-207, Zero Trust Architecture', /^\d\. /, 7],
  ['NIST Cybersecurity Framework 2.0', /^[A-Z]{2}\.[A-Z]{2}-\d\d /, 15],
];
const tests = sources().filter(isTest);

/** What a cell names: a file with numbers of rows, or with a part of a test's name in quotes. */
function namedIn(cell: string): readonly { path: string; what: readonly string[] }[] {
  return cell
    .split('; ')
    .map((each) => /^`([^`]+)` (.+)$/.exec(each.trim()))
    .map((found) => ({
      path: found?.[1] ?? cell,
      what: found?.[2]?.startsWith('"') ? [found[2].slice(1, -1)] : (found?.[2]?.split(', ') ?? []),
    }));
}

/** A number of a row stands at the beginning of a name or of a table's entry; other words are in a name. */
function isIn(path: string, what: string): boolean {
  if (!tests.includes(path)) return false;
  const text = textOf(path);
  return /^[MITC]\d+$/.test(what) ? new RegExp(`\\b${what}\\b`).test(text) : text.includes(what);
}

describe.each(LISTS)('%s', (heading, item, count) => {
  const rows = rowsUnder(page, heading.replaceAll('.', '\\.'));

  test('has each item once, in order', () => {
    const items = rows.map(([name = '']) => name);
    expect(items.filter((name) => !item.test(name))).toEqual([]);
    const numbers = items.map((name) => name.split(' ')[0]);
    expect(numbers).toHaveLength(count);
    expect(new Set(numbers).size).toBe(count);
  });

  test('names tests that exist, or says that the item is not covered', () => {
    const missing = rows.flatMap(([name = '', here = '', shown = '']) => {
      if (here.startsWith('not covered')) return shown === '' ? [] : [`${name}: not covered, and a test`];
      const named = namedIn(shown);
      const wrong = named.filter(
        ({ path, what }) => what.length === 0 || !what.every((each) => isIn(path, each)),
      );
      return wrong.map(({ path, what }) => `${name}: ${path} ${what.join(', ')}`);
    });
    expect(missing).toEqual([]);
  });
});

test.each([
  ['test/e2e/reach.test.ts', 'as JSON and as a graph', true],
  ['test/e2e/reach.test.ts', 'as a picture', false],
  ['test/house/no-such.test.ts', 'M8', false],
  ['test/attacks/mcp/policy.test.ts', 'M8', true],
  ['test/attacks/mcp/policy.test.ts', 'M888', false],
])('the search in %s for %s', (path, what, found) => {
  expect(isIn(path, what)).toBe(found);
});

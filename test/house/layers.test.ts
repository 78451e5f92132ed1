/** Imports run down the stairs of plan.ts, and no file reaches itself. */
import { expect, test } from 'vitest';
import { MAY_IMPORT, UNIT_TESTS_MAY_IMPORT } from './plan.ts';
import { importsOf, isTest, paths, textOf } from './repository.ts';

/** Configuration of tools, which belongs to no room. */
const files = paths(/\.ts$/).filter((path) => path.includes('/'));

const edges = files.flatMap((from) =>
  importsOf(from)
    .filter(({ ours }) => ours)
    .map(({ to }) => ({ from, to })),
);

test('every file has a room', () => {
  expect(files.filter((path) => roomOf(path) === undefined)).toEqual([]);
});

/** What product code and what unit tests are granted, one room at a time. */
const grants = [...grantsOf('product code', MAY_IMPORT), ...grantsOf('a unit test', UNIT_TESTS_MAY_IMPORT)];

test('every import goes down the stairs', () => {
  const climbing = edges.filter(({ from, to }) => !mayImport(from, to));
  expect(climbing.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
});

test.each([
  ['ca/src/rpc/operator/operator.ts', 'ca/src/operator/operator.ts', true],
  ['ca/src/rpc/operator/operator.ts', 'ca/src/authority/issue.ts', false],
  ['ca/src/rpc/operator/operator.test.ts', 'ca/src/authority/issue.ts', true],
  ['ca/src/rpc/operator/operator.test.ts', 'ca/src/serve.ts', false],
  ['ca/src/rpc/operator/operator.ts', 'test/kit/refusal.ts', false],
])('%s may import %s: %s', (from, to, may) => {
  expect(mayImport(from, to)).toBe(may);
});

test('the plan itself is a staircase', () => {
  const rooms = Object.keys(MAY_IMPORT);
  const upward = grants
    .filter(({ room, other }) => !rooms.includes(other) || rooms.indexOf(other) >= rooms.indexOf(room))
    .map(({ room, other }) => `${room} names ${other}`);
  expect(upward).toEqual([]);
});

test('the architecture page lists every room', () => {
  const page = textOf('docs/architecture.md');
  const rooms = Object.keys(MAY_IMPORT).filter((room) => !/^test\/|\.ts$/.test(room));
  expect(rooms.filter((room) => !page.includes(`\`${room}\``))).toEqual([]);
});

test('product code uses each room that it is granted, and unit tests each room that only they are', () => {
  const used = new Set(
    edges.map(
      ({ from, to }) => `${isTest(from) ? 'a unit test' : 'product code'} of ${roomOf(from)}: ${roomOf(to)}`,
    ),
  );
  const unused = grants
    .filter(({ room }) => !room.startsWith('test/'))
    .map(({ who, room, other }) => `${who} of ${room}: ${other}`)
    .filter((grant) => !used.has(grant));
  const twice = grantsOf('both', UNIT_TESTS_MAY_IMPORT).filter(({ room, other }) =>
    MAY_IMPORT[room]?.includes(other),
  );
  expect([unused, twice]).toEqual([[], []]);
});

test('no file reaches itself', () => {
  const next = new Map(
    files.map((path) => [path, edges.filter(({ from }) => from === path).map(({ to }) => to)]),
  );
  expect(cycleIn(next)).toEqual([]);
});

test('the search for cycles finds one', () => {
  const next = new Map([
    ['a', ['b', 'c']],
    ['b', []],
    ['c', ['d']],
    ['d', ['a']],
  ]);
  expect(cycleIn(next)).toEqual(['a', 'c', 'd', 'a']);
});

/** A unit test stands in its own file's room, and may use the kit and what the plan names for it besides. */
function mayImport(from: string, to: string): boolean {
  const [room, target] = [roomOf(from), roomOf(to)];
  if (room === undefined || target === undefined) return false;
  if (room === target || MAY_IMPORT[room]?.includes(target)) return true;
  return isTest(from) && (target === 'test/kit' || UNIT_TESTS_MAY_IMPORT[room]?.includes(target) === true);
}

function grantsOf(who: string, plan: Readonly<Record<string, readonly string[]>>) {
  return Object.entries(plan).flatMap(([room, others]) => others.map((other) => ({ who, room, other })));
}

/** The first cycle met, from a file to itself; empty if there is none. */
function cycleIn(next: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): readonly string[] => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    if (done.has(path)) return [];
    for (const to of next.get(path) ?? []) {
      const cycle = visit(to, [...trail, path]);
      if (cycle.length > 0) return cycle;
    }
    done.add(path);
    return [];
  };
  for (const path of next.keys()) {
    const cycle = visit(path, []);
    if (cycle.length > 0) return cycle;
  }
  return [];
}

/**
 * The longest entry of the plan that is the file or a folder above it; undefined for a file that has no room. A unit
 * test stands in the room of what it tests.
 */
function roomOf(path: string): string | undefined {
  const subject = path.replace(/\.test\.ts$/, '.ts');
  return Object.keys(MAY_IMPORT)
    .filter((room) => subject === room || subject.startsWith(`${room}/`))
    .toSorted((a, b) => b.length - a.length)[0];
}

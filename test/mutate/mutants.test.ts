import { expect, test } from 'vitest';
import { mutantsOf } from './mutants.ts';

/** The one line that each mutant changes, as it is then. */
function changed(text: string): readonly string[] {
  const before = text.split('\n');
  return mutantsOf(text).map(({ line, text: mutant }) => {
    const after = mutant.split('\n');
    expect(after.filter((each, index) => each !== before[index])).toHaveLength(1);
    return after[line - 1] ?? '';
  });
}
const PASS = '((..._: readonly unknown[]): void => {})';

test.each<[string, string, readonly string[]]>([
  ['an ensure', "  ensure(a > 0, 'svid', 'no');", [`  ${PASS}(a > 0, 'svid', 'no');`]],
  ['the first line of a long one', '  ensure(\n    a,', [`  ${PASS}(`]],
  ['a function named after it', '  await ensureFreshKey(key);', [`  await ${PASS}(key);`]],
  ['a method named after it', 'if (a !== b) this.#ensureFit(issuer);', [`if (a !== b) ${PASS}(issuer);`]],
  [
    'one in a loop and one in an arrow',
    'for (const a of b) ensure(a);\nb.map((a) => ensureIs(a));',
    [`for (const a of b) ${PASS}(a);`, `b.map((a) => ${PASS}(a));`],
  ],
  [
    'what is called for its refusal alone',
    '  lintSvid(tbs);\n  this.#need(a);',
    [`  ${PASS}(tbs);`, `  ${PASS}(a);`],
  ],
  ['a throw', '  throw new IdentityError();', ['  void new IdentityError();']],
  ['a guarded throw', '  if (a) throw error;', ['  if (a) void error;']],
  ['a guarded return', '  if (a) return;', ['  if (a) ;']],
  [
    'a guarded return of something',
    '  else if (f(a)) return undefined;',
    ['  else if (f(a)) void undefined;'],
  ],
  ['a guarded return on a line of its own', '  if (a)\n    return [b];', ['    void [b];']],
])('%s is taken away', (_, text, expected) => {
  expect(changed(text)).toEqual(expected);
});

test.each([
  ['what is defined', 'export function ensure(holds: boolean): asserts holds {'],
  [
    'a method that is defined',
    '  #ensureFit(now: Date): void {\n  ensureStillThere() {\n  async verify(a) {',
  ],
  ['what is imported', "import { ensure } from './errors.ts';"],
  ['what is in a comment', '// ensure(a);\n/** throw */\n/*\n * if (a) return;\n  ensure(a);\n */'],
  ['what is passed on', '  const check = ensure;\n  run(ensureStrongKey);'],
  ['what a call is made for', '  const key = ensureStrongKey(spki);'],
  ['the end of a function', '  return a;'],
])('%s is left', (_, text) => {
  expect(mutantsOf(text)).toEqual([]);
});

test('code after a comment is mutated', () => {
  expect(changed('/* a\n */\nensure(a);')).toEqual([`${PASS}(a);`]);
});

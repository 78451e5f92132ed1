/**
 * Every exported function and class, and every method of an exported class or interface, says what it gives (style:
 * units, errors, blocking, who closes it).
 */
import { expect, test } from 'vitest';
import { isTest, sources, textOf } from './repository.ts';

const EXPORTED = [
  /^export (?:async )?(?:function\*?|(?:abstract )?class) (\w+)/,
  /^export const (\w+)\b.* = (?:async )?(?:<.*>)?\(/,
];
/** A member of a class, as Biome indents it. Private ones begin with `#`. */
const METHOD =
  /^ {2}(?:static |async |override |abstract |get |set |\*)*(?!constructor\b)([a-z]\w*)\??(?:<[^(]*>)?\(/;
const DOCSTRING = /\*\/\s*$/;
const ROOMS = /^(?:agent|ca|sdk|shared)\/src\//;

function undocumentedIn(text: string): readonly string[] {
  const lines = text.split('\n');
  return lines.flatMap((line, at) => {
    // A long declaration has its value in the next line.
    const whole = line.endsWith('=') ? `${line} ${lines[at + 1]?.trim()}` : line;
    const [, name] = EXPORTED.map((pattern) => pattern.exec(whole)).find((found) => found !== null) ?? [];
    return name === undefined || DOCSTRING.test(lines[at - 1] ?? '') ? [] : [name];
  });
}

/** The public methods and accessors of exported classes and interfaces, by `Owner.method`. */
function methodsIn(text: string): readonly { readonly name: string; readonly documented: boolean }[] {
  const lines = text.split('\n');
  let owner: string | undefined;
  return lines.flatMap((line, at) => {
    const [, opened] = /^export (?:(?:abstract )?class|interface) (\w+)/.exec(line) ?? [];
    if (opened !== undefined || line === '}') owner = opened;
    const [, method] = METHOD.exec(line) ?? [];
    if (owner === undefined || method === undefined) return [];
    return [{ name: `${owner}.${method}`, documented: DOCSTRING.test(lines[at - 1] ?? '') }];
  });
}

test('every exported function and class has a docstring', () => {
  const missing = sources()
    .filter((path) => ROOMS.test(path) && !isTest(path))
    .flatMap((path) => undocumentedIn(textOf(path)).map((name) => `${path}: ${name}`));
  expect(missing).toEqual([]);
});

test('every public method of an exported class or interface has a docstring', () => {
  const methods = sources()
    .filter((path) => ROOMS.test(path) && !isTest(path))
    .flatMap((path) => methodsIn(textOf(path)).map((each) => ({ ...each, name: `${path}: ${each.name}` })));
  expect(methods.length).toBeGreaterThan(400);
  expect(methods.filter(({ documented }) => !documented).map(({ name }) => name)).toEqual([]);
});

test('the search finds methods and accessors that have none', () => {
  const text = [
    'export class A {',
    '  readonly #b = 1;',
    '  constructor(c: number) {',
    '    if (c) d();',
    '  }',
    '  /** Says. */',
    '  e(): void {}',
    '  async f<T>(g: T): Promise<void> {}',
    '  get h(): number {',
    '  static i(): A {',
    '  override j(): void {}',
    '  #k(): void {}',
    '}',
    'export interface P {',
    '  q?(): void;',
    '  readonly r: () => void;',
    '}',
    'class L {',
    '  m(): void {}',
    '}',
    'const n = {',
    '  o() {},',
    '};',
  ].join('\n');
  expect(methodsIn(text)).toEqual([
    { name: 'A.e', documented: true },
    ...['A.f', 'A.h', 'A.i', 'A.j', 'P.q'].map((name) => ({ name, documented: false })),
  ]);
});

test('the search finds what has none', () => {
  const text = [
    'export function a() {}',
    'export const b = (n: number) => n;',
    'export const c: (n: number) => number = (n) => n;',
    'export async function d() {}',
    'export class E {}',
    'export const e =',
    '  (n: number) =>',
    '    n;',
    '/** Says. */',
    'export function f() {}',
    '/** Says. */',
    'export const g = () => 1;',
    'export const H = 1;',
    'export interface I {}',
  ].join('\n');
  expect(undocumentedIn(text)).toEqual(['a', 'b', 'c', 'd', 'E', 'e']);
});

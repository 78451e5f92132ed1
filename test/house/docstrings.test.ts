/** Every exported function and class says what it gives (style: units, errors, blocking, who closes it). */
import { expect, test } from 'vitest';
import { isTest, sources, textOf } from './repository.ts';

const EXPORTED = [
  /^export (?:async )?(?:function\*?|(?:abstract )?class) (\w+)/,
  /^export const (\w+)\b.* = (?:async )?(?:<.*>)?\(/,
];
const ROOMS = /^(?:agent|ca|sdk|shared)\/src\//;

function undocumentedIn(text: string): readonly string[] {
  const lines = text.split('\n');
  return lines.flatMap((line, at) => {
    // A long declaration has its value in the next line.
    const whole = line.endsWith('=') ? `${line} ${lines[at + 1]?.trim()}` : line;
    const [, name] = EXPORTED.map((pattern) => pattern.exec(whole)).find((found) => found !== null) ?? [];
    return name === undefined || /\*\/\s*$/.test(lines[at - 1] ?? '') ? [] : [name];
  });
}

test('every exported function and class has a docstring', () => {
  const missing = sources()
    .filter((path) => ROOMS.test(path) && !isTest(path))
    .flatMap((path) => undocumentedIn(textOf(path)).map((name) => `${path}: ${name}`));
  expect(missing).toEqual([]);
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

/** Changes to JSON by its words: a key twice, a value of another type, one nested deeper. Broken JSON stays broken. */
import type { Random } from '../../kit/random.ts';
import { BLIND, type Change, someRun } from './blind.ts';

/** A string, a number, a word, punctuation, whatever else. */
const TOKEN = /"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|[A-Za-z_]+|\s+|[\s\S]/g;
const NESTED = 70;
const VALUES = [
  'null',
  'true',
  '0',
  '-0',
  '-1',
  '1.5',
  '1e3',
  '1e400',
  '9007199254740993',
  '253402300800',
  '12345678901234567890',
  '0.1000000000000000055511151231257827',
  '""',
  '" "',
  '"\\u0000"',
  '"\\ud800"',
  '"\\u0061"',
  '"*"',
  '"__proto__"',
  '"constructor"',
  '"toString"',
  '{}',
  '[]',
  '{"toString":1}',
  '{"__proto__":null}',
  '[[]]',
  '"é€😀"',
  `${'['.repeat(NESTED)}${']'.repeat(NESTED)}`,
] as const;

type TokenChange = (tokens: string[], theirs: readonly string[], random: Random) => void;

const at = (tokens: readonly string[], random: Random): number => random.int(Math.max(1, tokens.length));
const isValue = (token: string | undefined): boolean => token !== undefined && /^["\-0-9A-Za-z]/.test(token);

/** Of a value, or a key, rather than of punctuation. */
function valueAt(tokens: readonly string[], random: Random): number {
  const start = at(tokens, random);
  for (let step = 0; step < tokens.length; step += 1)
    if (isValue(tokens[(start + step) % tokens.length])) return (start + step) % tokens.length;
  return start;
}

const CHANGES = [
  (tokens, _, random) => tokens.splice(valueAt(tokens, random), 1, random.pick(VALUES)),
  (tokens, _, random) => tokens.splice(valueAt(tokens, random), 1, random.pick(VALUES)),
  (tokens, theirs, random) =>
    tokens.splice(valueAt(tokens, random), 1, theirs[valueAt(theirs, random)] ?? '0'),
  (tokens, _, random) => {
    const where = valueAt(tokens, random);
    tokens[where] = `[${tokens[where] ?? ''}]`;
  },
  (tokens, _, random) => {
    const where = valueAt(tokens, random);
    const text = Buffer.from(tokens[where] ?? '');
    const changed = Buffer.from(random.pick(BLIND)(text.subarray(1, -1), text, random));
    tokens[where] = `${text.subarray(0, 1)}${changed.toString('latin1')}${text.subarray(-1)}`;
  },
  (tokens, _, random) => {
    const where = valueAt(tokens, random);
    const digits = random.pick(['0', '9', '1', '.', 'e', 'a', '-']).repeat(1 + random.int(40));
    tokens[where] = `${tokens[where] ?? ''}${digits}${random.pick(['', '1', '"'])}`;
  },
  (tokens, _, random) => tokens.splice(...removed(tokens, random)),
  // A member twice: with what stands before it, a comma or a brace.
  (tokens, _, random) => {
    const [start, end] = someRun(tokens, random);
    tokens.splice(start, 0, ...tokens.slice(start, end));
  },
  (tokens, theirs, random) => {
    const [start, end] = someRun(theirs, random);
    tokens.splice(at(tokens, random), 0, ...theirs.slice(start, end));
  },
  (tokens, _, random) =>
    tokens.splice(tokens.indexOf('{') + 1, 0, random.pick(VALUES), ':', random.pick(VALUES), ','),
  (tokens, _, random) =>
    tokens.splice(at(tokens, random), 0, random.pick([' ', '\n', '\t', ',', '{', '}', '[', ']'])),
] as const satisfies readonly TokenChange[];

function removed(tokens: readonly string[], random: Random): [number, number] {
  const [start, end] = someRun(tokens, random);
  return [start, end - start];
}

export const changeJson: Change = (input, other, random) => {
  const tokens = tokensOf(input);
  random.pick(CHANGES)(tokens, tokensOf(other), random);
  return Buffer.from(tokens.join(''));
};

/** Bytes that are no UTF-8 are lost; blind changes make new ones. */
const tokensOf = (bytes: Uint8Array): string[] => Buffer.from(bytes).toString('utf8').match(TOKEN) ?? [];

/** Header and claims as JSON; at times a part as text. */
export const changeJwt: Change = (input, other, random) => {
  const [mine, theirs] = [partsOf(input), partsOf(other)];
  const where = random.int(4) === 0 ? random.int(mine.length + 1) : random.int(2);
  const change = random.int(8) === 0 ? random.pick(BLIND) : changeJson;
  const part = change(decoded(mine[where]), decoded(theirs[where]), random);
  mine[where] = Buffer.from(part).toString(random.int(40) === 0 ? 'base64' : 'base64url');
  return Buffer.from(mine.join('.'));
};

const partsOf = (bytes: Uint8Array): string[] => Buffer.from(bytes).toString('latin1').split('.');
const decoded = (part = ''): Uint8Array => Buffer.from(part, 'base64url');

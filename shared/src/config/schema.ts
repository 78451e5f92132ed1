/** What configs have in common: texts that are read by a parser of ours, and addresses. */

import { z } from 'zod';
import { isRefusal } from '../ground/errors.ts';
import { hostAndPort, MAX_PORT } from '../text/address.ts';
import { parseDuration } from './duration.ts';

/** A transform of zod's; what the parser says is wrong becomes one of the file's problems. */
export const by =
  <T>(parse: (text: string) => T) =>
  (text: string, context: z.RefinementCtx): T => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: isRefusal(error) ? error.message : String(error) });
      return z.NEVER;
    }
  };

/** A string that `says` describes with an example, for instance where a number without quotes was written. */
export const text = (says: string) =>
  z.string({
    error: ({ input }) =>
      input === undefined ? `missing (${says} is expected)` : `${says} is expected, found ${kindOf(input)}`,
  });

/** Seconds. */
export const duration = (fallback: string) => text(DURATION).default(fallback).transform(by(parseDuration));

export const DURATION = 'a length of time such as 20s, 15m, 1h or 7d';

export const hostPort = text('host:port, for instance 127.0.0.1:8443,')
  .regex(/^(\[[0-9a-f:]+\]|[a-zA-Z0-9.-]+):[0-9]{1,5}$/, {
    error: 'expected host:port, for instance 127.0.0.1:8443',
    abort: true,
  })
  .refine((text) => hostAndPort(text).port <= MAX_PORT, 'a port is at most 65535');

/** The `error` of a union whose forms `says` lists: for a value of which no form, or more than one, is meant. */
export const forms =
  (says: string) =>
  ({ input }: { readonly input?: unknown }): string =>
    input === undefined ? `missing (${says} is expected)` : `${says} is expected, found ${withKeys(input)}`;

/**
 * A map that is one of several forms. An unknown key ends it, since it may be a key of another form; zod's union would
 * take a map whose only fault is an unknown key for the form that is meant.
 */
export const form = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.strictObject(shape).check(({ issues }) => {
    for (const issue of issues) Object.assign(issue, { continue: false });
  });

/** What a schema says of a value that does not fit, in our words: for `safeParse(value, { error: sentence })`. */
export const sentence: z.core.$ZodErrorMap = (issue) => {
  if (issue.code !== 'custom' && issue.input === undefined) return missing(issue);
  switch (issue.code) {
    case 'invalid_type':
      return typeProblem(issue.expected, issue.input);
    case 'invalid_value':
      return `${oneOf(issue.values)} is expected, found ${quoted(issue.input)}`;
    case 'too_small':
      return sizeProblem(issue.origin, 'at least', issue.minimum, issue.input);
    case 'too_big':
      return sizeProblem(issue.origin, 'at most', issue.maximum, issue.input);
    case 'invalid_format':
      return `${formatOf(issue)} is expected`;
    case 'invalid_union':
      return unionProblem(issue);
    default:
      return undefined;
  }
};

/** All of it in one line. */
export const sentencesOf = ({ issues }: z.ZodError): string =>
  issues.map(({ path, message }) => `${path.map(String).join('.') || 'the value'}: ${message}`).join('; ');

const KINDS: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map',
  record: 'a map',
  null: 'null',
};
const FORMATS: Readonly<Record<string, string>> = {
  url: 'a URL',
  datetime: 'a time such as 2026-01-31T12:00:00Z',
  base64: 'base64',
};
const MAX_QUOTED = 60;
/** Of a map that fits no form: the sentence stays readable. */
const MAX_KEYS = 8;

type Raw<Code> = Extract<z.core.$ZodRawIssue, { readonly code: Code }>;

function missing(issue: z.core.$ZodRawIssue): string {
  if (issue.code === 'invalid_type')
    return `missing (${KINDS[issue.expected] ?? issue.expected} is expected)`;
  if (issue.code === 'invalid_value') return `missing (${oneOf(issue.values)} is expected)`;
  return 'missing';
}

/** Undefined if the arms say more than the union. */
function unionProblem({ discriminator, input, ...rest }: Raw<'invalid_union'>): string | undefined {
  if (discriminator === undefined || !('options' in rest) || !Array.isArray(rest.options)) return undefined;
  const found: unknown =
    typeof input === 'object' && input !== null ? Reflect.get(input, discriminator) : input;
  return unknownKind(rest.options, found);
}

function unknownKind(options: readonly unknown[], found: unknown): string {
  const expected = `${oneOf(options)} is expected`;
  return found === undefined ? `missing (${expected})` : `${expected}, found ${quoted(found)}`;
}

function oneOf(values: readonly unknown[]): string {
  const all = values.map(quoted);
  const last = all.pop() ?? 'nothing';
  return all.length === 0 ? last : `${all.join(', ')} or ${last}`;
}

const quoted = (value: unknown): string => {
  if (typeof value === 'object' && value !== null) return kindOf(value);
  return (JSON.stringify(value) ?? kindOf(value)).slice(0, MAX_QUOTED);
};

function withKeys(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return kindOf(value);
  const keys = Object.keys(value);
  return keys.length === 0
    ? 'an empty map'
    : `a map with ${keys.slice(0, MAX_KEYS).join(', ')}${keys.length > MAX_KEYS ? ', ...' : ''}`;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a map';
  return typeof value === 'boolean' ? `${value}` : `a ${typeof value}`;
}

function typeProblem(expected: string, input: unknown): string {
  // A fraction where a whole number is expected; no number at all (`.nan`), or one without end (`.inf`).
  const isNumber = ['int', 'number'].includes(expected) && typeof input === 'number';
  return `${KINDS[expected] ?? expected} is expected, found ${isNumber ? input : kindOf(input)}`;
}

function sizeProblem(origin: string, bound: string, limit: number | bigint, input: unknown): string {
  if (origin === 'string' && bound === 'at least' && limit === 1) return 'it must not be empty';
  if (origin === 'string') return `${bound} ${limit} characters are expected, found ${String(input).length}`;
  const entries = `${limit} ${limit === 1 ? 'entry is' : 'entries are'} expected`;
  if (Array.isArray(input)) return `${bound} ${entries}, found ${input.length}`;
  return origin === 'number' || origin === 'int'
    ? `a number of ${bound} ${limit} is expected, found ${String(input)}`
    : `${bound} ${entries}`;
}

function formatOf(issue: Raw<'invalid_format'>): string {
  if (issue.format === 'starts_with') return `a text that starts with "${String(issue['prefix'])}"`;
  return (
    FORMATS[issue.format] ??
    (issue.pattern === undefined ? `another format (${issue.format})` : `text of the form ${issue.pattern}`)
  );
}

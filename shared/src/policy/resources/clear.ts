/**
 * Which arguments of tool calls a record has in clear: those that a McpServer names, by the tool and a JSON Pointer
 * (RFC 6901). Of all others it has one digest alone.
 */
import { z } from 'zod';
import { isJsonObject, type Json, type JsonObject } from '../../ground/json.ts';
import type { Pattern } from '../patterns/pattern.ts';

/** Of one record; those that more rules name are left out. */
export const MAX_CLEAR_FIELDS = 16;

/** No field that an operator means to read is longer or deeper; a record has the pointers, too. */
const MAX_POINTER = 128;

/** Fields whose values are secrets whatever their shape. A cursor such as `page_token` is none, nor is `max_tokens`. */
const SECRET_NAMES = new RegExp(
  [
    'pass_?(?:word|wd|phrase|code)|secret|credential|authorization|cookie|connection_?str',
    '(?:private|api|access|signing|account)_?key|session_?(?:id|key)$',
    '(?:^|_)(?:pwd|jwt|bearer|t?otp|pin|dsn)s?(?:_code)?$',
    // A plain `key` is mostly that of an issue or an object.
    '^private$|(?:^|_)sas(?:_ur[li])?$',
    '(?<!(?:page|next|previous|cursor|continuation|sync|max|min|total|input|output|prompt|completion)_?)tokens?$',
  ].join('|'),
);

/** A JSON Pointer to one argument or a part of it, not to all of them at once. */
export const ClearField = z
  .string()
  .max(MAX_POINTER, `a pointer has at most ${MAX_POINTER} characters`)
  .regex(
    /^(?:\/(?:[^/~\p{C}\p{Z}]| |~[01])*)+$/u,
    'a field is a JSON Pointer to an argument, such as /repo or /labels/0, with ~1 for / and ~0 for ~ in a name',
  )
  .refine(
    (pointer) => !partsOf(pointer).some((part) => SECRET_NAMES.test(wordsOf(part))),
    'the field is one of a secret by its name, and records never have those in clear',
  );

/** `clientSecret` and `client-secret` are one name, and `APIToken` has two words. */
const wordsOf = (name: string): string =>
  name
    .replaceAll(/(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g, '_')
    .replaceAll(/[-. ]/g, '_')
    .toLowerCase();

/** One rule: these fields of all tools that a pattern covers. */
export interface ClearRule {
  readonly tools: readonly Pattern[];
  readonly fields: readonly string[];
}

/** The pointers for one tool, each once, in the order of the rules; at most `MAX_CLEAR_FIELDS`. */
export function clearFieldsOf(rules: readonly ClearRule[], tool: string): readonly string[] {
  const about = rules.filter(({ tools }) => tools.some((pattern) => pattern.matches(tool)));
  return [...new Set(about.flatMap(({ fields }) => fields))].slice(0, MAX_CLEAR_FIELDS);
}

/**
 * The text of what a pointer points to: a string as it is, a number as it was spelled, `true`, `false`, `null`.
 * Undefined if nothing is there, and for an object or a list, which would bring along what no rule names.
 */
export function argumentAt(given: JsonObject, pointer: string): string | undefined {
  let at: Json | undefined = given;
  for (const part of partsOf(pointer)) at = memberOf(at, part);
  if (typeof at === 'string') return at;
  return at === undefined || isJsonObject(at) || Array.isArray(at) ? undefined : JSON.stringify(at);
}

/** RFC 6901 section 4: `~01` is `~1`, so `~1` is replaced first. */
const partsOf = (pointer: string): readonly string[] =>
  pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));

function memberOf(value: Json | undefined, part: string): Json | undefined {
  if (Array.isArray(value)) return INDEX.test(part) ? (value as readonly Json[])[Number(part)] : undefined;
  return isJsonObject(value) && Object.hasOwn(value, part) ? value[part] : undefined;
}

const INDEX = /^(?:0|[1-9][0-9]{0,5})$/;

/** Words by which an event is found: whole SPIFFE IDs, serial numbers, codes, and servers, tools and rules by field. */
import { REFUSALS } from '../ground/errors.ts';
import type { AuditEvent } from './event.ts';

/** Not as a part of a longer SPIFFE ID, number or code. */
export function hasWord(text: string, word: string): boolean {
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1))
    if (!IN_WORD.test(text[at - 1] ?? '') && !IN_WORD.test(text[at + word.length] ?? '')) return true;
  return false;
}

const IN_WORD = /[\w./-]/;

/** Words of one event that an index has. */
const MAX_WORDS = 64;

/**
 * Of the JSON of an event, all words that an index has: `saysWord` is true of no other word that `isIndexed`. Undefined
 * for an event with too many, which has to be read. A server, a tool or a rule is one with its field, `"tool":"read"`.
 * `parsed` is the event, where the caller has it.
 */
export function indexedWords(text: string, parsed?: AuditEvent): ReadonlySet<string> | undefined {
  if (isCall(text)) return wordsOfCall(text, parsed);
  const found = new Set<string>();
  for (const words of [text.matchAll(FIELDS), text.matchAll(RUNS)])
    for (const [word] of words) {
      if (isIndexed(word)) found.add(word);
      if (found.size > MAX_WORDS) return undefined;
    }
  return found;
}

/** As `hasWord`; but of a reported call, what an index has is a word only where `indexedWords` names it. */
export function saysWord(text: string, word: string): boolean {
  if (!hasWord(text, word)) return false;
  return !isIndexed(word) || !isCall(text) || wordsOfCall(text).has(word);
}

/** Written by the store: the type is in front. */
const isCall = (text: string): boolean => text.startsWith('{"type":"call.recorded"');

/** Who reported it and who called, by which certificates, code, server, tool and rule: not what its texts mention. */
function wordsOfCall(text: string, parsed: unknown = JSON.parse(text)): ReadonlySet<string> {
  const { reporter, serial, record } = parsed as Partial<Called>;
  const named = [reporter, serial, record?.['caller'], record?.['serial'], record?.['code']];
  const names = named.filter((each): each is string => typeof each === 'string' && isName(each));
  return new Set([...names, ...(text.match(FIELDS) ?? [])]);
}

interface Called {
  readonly reporter: string;
  readonly serial: string;
  readonly record: Readonly<Record<string, unknown>>;
}

/** Whether `indexedWords` names it wherever it is. */
export const isIndexed = (word: string): boolean => isName(word) || FIELD.test(word);

const isName = (word: string): boolean =>
  SPIFFE_ID.test(word) || SERIAL.test(word) || Object.hasOwn(REFUSALS, word);

const RUNS = /(?<![\w./-])(?:spiffe:\/\/)?[\w./-]+/g;
const SPIFFE_ID = /^spiffe:\/\/[\w./-]+$/;
const SERIAL = /^[0-9a-f]{16,40}$/;
const FIELDS = /"(?:server|tool|rule)":"(?:[^"\\]|\\.)*"/g;
const FIELD = /^"(?:server|tool|rule)":"(?:[^"\\]|\\.)*"$/;

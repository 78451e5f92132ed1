/** The words by which an event is found: whole SPIFFE IDs, serial numbers, codes, and servers and tools by field. */
import { REFUSALS } from '../ground/errors.ts';

/** Not as a part of a longer SPIFFE ID, number or code. */
export function hasWord(text: string, word: string): boolean {
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1))
    if (!IN_WORD.test(text[at - 1] ?? '') && !IN_WORD.test(text[at + word.length] ?? '')) return true;
  return false;
}

const IN_WORD = /[\w./-]/;

/**
 * Of the JSON of an event, all words that an index has: `hasWord` is true of no other word that `isIndexed`. A server
 * or a tool is one with its field, `"tool":"read"`.
 */
export function indexedWords(text: string): ReadonlySet<string> {
  const found = new Set<string>(text.match(FIELDS));
  for (const [run] of text.matchAll(RUNS)) if (isIndexed(run)) found.add(run);
  return found;
}

/** Whether `indexedWords` names it wherever it is. */
export const isIndexed = (word: string): boolean =>
  SPIFFE_ID.test(word) || SERIAL.test(word) || Object.hasOwn(REFUSALS, word) || FIELD.test(word);

const RUNS = /(?<![\w./-])(?:spiffe:\/\/)?[\w./-]+/g;
const SPIFFE_ID = /^spiffe:\/\/[\w./-]+$/;
const SERIAL = /^[0-9a-f]{16,40}$/;
const FIELDS = /"(?:server|tool)":"(?:[^"\\]|\\.)*"/g;
const FIELD = /^"(?:server|tool)":"(?:[^"\\]|\\.)*"$/;

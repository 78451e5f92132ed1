/**
 * YAML read once and strictly against a schema: every problem at once, each with its file, line and what was
 * expected.
 */
import {
  Composer,
  type Document,
  isCollection,
  isNode,
  isScalar,
  LineCounter,
  Parser,
  visit,
  type YAMLError,
} from 'yaml';
import type { z } from 'zod';
import { IdentityError, type Refusal } from '../ground/errors.ts';
import { printable } from '../text/printable.ts';
import { problemsOf } from './problems.ts';
import { sentence } from './schema.ts';

export interface Problem {
  readonly file: string;
  readonly line: number;
  readonly says: string;
}

/** A document that fits its schema, and where each part of it stands. */
export interface Read<T> {
  readonly value: T;
  /** The line of this part, from 1; that of its nearest parent if it is not in the file. */
  lineOf(path: readonly PropertyKey[]): number;
  /** A text or number as it is written; undefined if it is not in the file. */
  writtenAt(path: readonly PropertyKey[]): string | undefined;
}

/** A person mends these first; the answer of a gRPC call holds no more. */
const MAX_TOLD = 50;

/** Collects problems and throws them together, so that an operator mends a file in one go. */
export class Problems {
  readonly #found: Problem[] = [];

  /** Notes one problem. Control characters in `file` and `says` are escaped. */
  add(file: string, line: number, says: string): void {
    this.#found.push({ file: printable(file), line, says: printable(says) });
  }

  /** Whether nothing was noted. */
  get isEmpty(): boolean {
    return this.#found.length === 0;
  }

  /** Throws `code` with one line for each problem, in the order of the files. */
  throwIfAny(code: Refusal): void {
    if (this.#found.length === 0) return;
    const inOrder = this.#found.toSorted((a, b) =>
      a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1,
    );
    const problemsOf = inOrder.slice(0, MAX_TOLD).map(({ file, line, says }) => `${file}:${line}: ${says}`);
    const more = inOrder.length - problemsOf.length;
    throw new IdentityError(
      code,
      [...problemsOf, ...(more > 0 ? [`and ${more} more problems`] : [])].join('\n'),
    );
  }
}

/** Reads every document of a file; what does not fit is added to `problems` and left out. */
export const readDocuments = <T>(
  text: string,
  file: string,
  schema: z.ZodType<T>,
  problems: Problems,
): readonly Read<T>[] => [...eachDocument(text, file, schema, problems)].flat();

/** As `readDocuments`, one document at a time: what it holds, or nothing. Each is parsed when it is asked for. */
export function* eachDocument<T>(
  text: string,
  file: string,
  schema: z.ZodType<T>,
  problems: Problems,
): Generator<readonly Read<T>[]> {
  const lines = new LineCounter();
  const line = (offset: number) => lines.linePos(offset).line;
  const composer = new Composer({
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: true,
  });
  for (const document of composer.compose(new Parser(lines.addNewLine).parse(text))) {
    const spoiled = whatSpoils(document);
    for (const { at, says } of spoiled) problems.add(file, line(at), says);
    const report = (path: readonly PropertyKey[], says: string) =>
      problems.add(file, line(offsetOf(document, path)), says);
    yield spoiled.length > 0 || isEmpty(document) ? [] : read(document, schema, report, line);
  }
}

/** What the parser refuses or guesses about, and aliases: a value that stands elsewhere is easily read past. */
function whatSpoils(document: Document): readonly { readonly at: number; readonly says: string }[] {
  const { errors, warnings } = document;
  const found = [...errors, ...warnings].map((problem) => ({ at: problem.pos[0], says: syntax(problem) }));
  // What is below was not read; the parser says so twice.
  if (found.some(({ says }) => says === TOO_DEEP)) return found.slice(0, 1);
  visit(document, {
    Pair: (_, { key }) => {
      if (isCollection(key))
        found.push({ at: key.range?.[0] ?? 0, says: 'a key is a text, not a list or a map' });
    },
    Alias: (_, { range, source }) => {
      found.push({ at: range?.[0] ?? 0, says: `*${source} is an alias: write the value out` });
    },
  });
  return found;
}

/** The parser's words are the YAML specification's; these are the mistakes that people make. */
function syntax({ code, message }: YAMLError): string {
  if (code === 'DUPLICATE_KEY') return 'this key is set twice';
  if (code === 'TAB_AS_INDENT') return 'a tab indents this line: use spaces';
  if (code === 'TAG_RESOLVE_FAILED') return message.replace('Unresolved tag:', 'unknown tag');
  if (message.startsWith('Implicit map keys need')) return 'a key without a value: write "key: value"';
  if (message.startsWith('Implicit keys need'))
    return 'a key without a colon: write "key: value" in one line';
  if (message.startsWith('Nested mappings are not allowed'))
    return (
      'this line has two keys, or the next one is indented too far: write each key in a line of its own, ' +
      'and quote a value that has ": " in it'
    );
  if (message.includes('Maximum call stack')) return TOO_DEEP;
  return message;
}
const TOO_DEEP = 'lists or maps are nested too deep';

/** Comments only, or what follows a last `---`. */
function isEmpty({ contents }: Document): boolean {
  return contents === null || (isScalar(contents) && contents.value === null && contents.source === '');
}

function read<T>(
  document: Document,
  schema: z.ZodType<T>,
  report: (path: readonly PropertyKey[], says: string) => void,
  line: (offset: number) => number,
): readonly Read<T>[] {
  const result = schema.safeParse(document.toJS(), { error: sentence, reportInput: true });
  if (result.success)
    return [
      {
        value: result.data,
        lineOf: (path) => line(offsetOf(document, path)),
        writtenAt: (path) => sourceOf(document, path),
      },
    ];
  for (const { path, says } of problemsOf(result.error.issues)) report(path, says);
  return [];
}

/** Where the node at `path` starts, or else its nearest parent that is there. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length -= 1) {
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  const { contents } = document;
  return isNode(contents) && contents.range ? contents.range[0] : 0;
}

function sourceOf(document: Document, path: readonly PropertyKey[]): string | undefined {
  const node = document.getIn(path, true);
  return isScalar(node) ? node.source : undefined;
}

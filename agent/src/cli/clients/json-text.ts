/**
 * JSON with comments as a person or an MCP client has written it: read strictly, and changed in one place. All other
 * bytes stay as they are.
 */
import { isDeepStrictEqual } from 'node:util';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import {
  createScanner,
  getNodeValue,
  type Node,
  type ParseError,
  parseTree,
  printParseErrorCode,
} from 'jsonc-parser';

/** How many objects and lists may be open at once: the parser calls itself for each. */
const MAX_DEPTH = 100;

/** Of the parser's `SyntaxKind`, an enum that exists for its compiler only. */
const TOKEN = {
  openBrace: 1,
  closeBrace: 2,
  openBracket: 3,
  closeBracket: 4,
  comma: 5,
  lineComment: 12,
  blockComment: 13,
  end: 17,
} as const;

/** A file's text and its outermost object. */
export interface JsonText {
  readonly text: string;
  readonly root: Node;
}

/**
 * Throws file with the line unless it is one object. An empty text is an empty object. Comments, and commas before a
 * closing bracket, are refused unless the client reads them.
 */
export function readJsonText(written: string, hasComments: boolean): JsonText {
  const text = written.trim() === '' ? '{}\n' : written;
  ensureShallow(text);
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, {
    disallowComments: !hasComments,
    allowTrailingComma: hasComments,
  });
  const [first] = errors;
  if (first !== undefined) {
    const says = SAYS[printParseErrorCode(first.error)] ?? 'it is not JSON';
    throw new IdentityError('file', `line ${lineAt(text, first.offset)}: ${says}`);
  }
  ensure(root?.type === 'object', 'file', 'an object is expected: {...}');
  return { text, root };
}

const SAYS: Readonly<Record<string, string>> = {
  InvalidCommentToken: 'a comment, which this client cannot read',
  PropertyNameExpected: 'the name of a field in double quotes is expected',
  ValueExpected: 'a value is expected',
  ColonExpected: 'a colon is expected',
  CommaExpected: 'a comma is expected',
  CloseBraceExpected: 'a closing brace is expected',
  CloseBracketExpected: 'a closing bracket is expected',
  EndOfFileExpected: 'nothing more is expected behind the object',
};

/** Before the parser, which calls itself. The scanner does not. */
function ensureShallow(text: string): void {
  const scanner = createScanner(text, true);
  let depth = 0;
  for (let kind = scanner.scan(); kind !== TOKEN.end; kind = scanner.scan()) {
    if (kind === TOKEN.openBrace || kind === TOKEN.openBracket) depth += 1;
    if (kind === TOKEN.closeBrace || kind === TOKEN.closeBracket) depth -= 1;
    ensure(depth <= MAX_DEPTH, 'file', `more than ${MAX_DEPTH} objects and lists in each other`);
  }
}

/** From 1. */
const lineAt = (text: string, offset: number): number => text.slice(0, offset).split('\n').length;

/**
 * The value of a field; undefined if the object has none of that name. Throws file if there are two: readers differ on
 * which counts.
 */
export function fieldOf(object: Node, name: string): Node | undefined {
  const found = (object.children ?? []).filter(({ children }) => children?.[0]?.value === name);
  ensure(found.length <= 1, 'file', `${name} is there twice; remove one of them`);
  return found[0]?.children?.[1];
}

/** A text with an entry. */
export interface Changed {
  readonly text: string;
  /** What was done: nothing, if the same entry was there. */
  readonly did: 'nothing' | 'add' | 'replace';
}

export interface Entry {
  /** The field of the outermost object that has the entries. */
  readonly servers: string;
  readonly name: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/**
 * The text with the entry. One of that name is replaced, and the object of entries is made if it is missing. Throws
 * file if that is not an object.
 */
export function withEntry({ text, root }: JsonText, entry: Entry): Changed {
  const { servers, name, value } = entry;
  const style = styleOf(text);
  const object = fieldOf(root, servers);
  if (object === undefined) {
    const all = { name: servers, value: { [name]: value } };
    return { text: checked(added(text, root, all, style), root, entry), did: 'add' };
  }
  ensure(object.type === 'object', 'file', `${servers} is not an object`);
  const old = fieldOf(object, name);
  if (old === undefined)
    return { text: checked(added(text, object, { name, value }, style), root, entry), did: 'add' };
  if (isSame(getNodeValue(old), value)) return { text, did: 'nothing' };
  const content = written(value, style, marginAt(text, old.offset));
  const changed = spliced(text, old.offset, old.offset + old.length, content);
  return { text: checked(changed, root, entry), did: 'replace' };
}

/** Throws unless the text says what it said, and the entry: a mistake here must not cost a person their file. */
function checked(text: string, root: Node, { servers, name, value }: Entry): string {
  const all = getNodeValue(root);
  const expected = { ...all, [servers]: { ...all[servers], [name]: value } };
  const isAsMeant = isSame(getNodeValue(readJsonText(text, true).root), expected);
  ensure(isAsMeant, 'file', 'this file cannot be changed in one place; add the entry by hand');
  return text;
}

/** As JSON: the parser makes objects without a prototype. */
function isSame(a: unknown, b: unknown): boolean {
  const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
  return isDeepStrictEqual(plain(a), plain(b));
}

interface Style {
  readonly eol: string;
  /** Of one level. */
  readonly indent: string;
}

function styleOf(text: string): Style {
  const indent = /^([ \t]+)["/]/m.exec(text)?.[1] ?? '  ';
  return { eol: text.includes('\r\n') ? '\r\n' : '\n', indent: indent.startsWith('\t') ? '\t' : indent };
}

/** As several lines; all but the first begin with `margin`. */
function written(value: unknown, { eol, indent }: Style, margin: string): string {
  return JSON.stringify(value, null, indent).split('\n').join(`${eol}${margin}`);
}

/** The white space at the start of a place's line. */
function marginAt(text: string, offset: number): string {
  const line = text.slice(text.lastIndexOf('\n', offset - 1) + 1, offset);
  return /^[ \t]*/.exec(line)?.[0] ?? '';
}

interface Field {
  readonly name: string;
  readonly value: unknown;
}

/** The text with a field in an object that has none, behind its comments. */
function addedFirst(text: string, object: Node, { name, value }: Field, style: Style): string {
  const [start, end] = [object.offset + 1, object.offset + object.length - 1];
  const margin = marginAt(text, object.offset);
  const deeper = `${margin}${style.indent}`;
  const field = `${JSON.stringify(name)}: ${written(value, style, deeper)}`;
  const inner = text.slice(start, end).trimEnd();
  return spliced(text, start, end, `${inner}${style.eol}${deeper}${field}${style.eol}${margin}`);
}

/** The text with another field at the end of an object: on lines of its own, or on the line of the others. */
function added(text: string, object: Node, { name, value }: Field, style: Style): string {
  const last = object.children?.at(-1);
  if (last === undefined) return addedFirst(text, object, { name, value }, style);
  const valueEnd = last.offset + last.length;
  const { comma, end } = behind(text, valueEnd);
  const margin = marginAt(text, last.offset);
  const hasOwnLine =
    text.slice(0, last.offset).trimEnd() !== text.slice(0, last.offset).replace(/[ \t]+$/, '');
  const field = hasOwnLine
    ? `${style.eol}${margin}${JSON.stringify(name)}: ${written(value, style, margin)}`
    : ` ${JSON.stringify(name)}: ${JSON.stringify(value)}`;
  if (comma !== undefined) {
    const at = hasOwnLine ? end : comma + 1;
    return spliced(text, at, at, `${field},`);
  }
  const at = hasOwnLine ? end : valueEnd;
  return spliced(spliced(text, at, at, field), valueEnd, valueEnd, ',');
}

/** The comma behind a value, if there is one, and where its line ends: behind comments on it. */
function behind(text: string, from: number): { readonly comma: number | undefined; readonly end: number } {
  const scanner = createScanner(text, false);
  scanner.setPosition(from);
  let [comma, end]: [number | undefined, number] = [undefined, from];
  for (let kind = scanner.scan(); kind !== TOKEN.end; kind = scanner.scan()) {
    const isOnLine = !text.slice(from, scanner.getTokenOffset() + scanner.getTokenLength()).includes('\n');
    const isComment = kind === TOKEN.lineComment || kind === TOKEN.blockComment;
    if (kind === TOKEN.comma) comma = scanner.getTokenOffset();
    else if (kind === TOKEN.closeBrace) break;
    if ((isComment && isOnLine) || kind === TOKEN.comma)
      end = scanner.getTokenOffset() + scanner.getTokenLength();
  }
  return { comma, end };
}

const spliced = (text: string, from: number, to: number, content: string): string =>
  `${text.slice(0, from)}${content}${text.slice(to)}`;

/** `{attribute}` in a SPIFFE ID or a DNS name. A missing attribute refuses; it never becomes an empty segment. */

import { attributePrefix } from '@chancery/shared/evidence/platform.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Scope } from './facts.ts';

export interface Template {
  /** The first attribute that is missing, or that is not a piece of one path segment. */
  missing(scope: Scope): string | undefined;
  /** Call it only if nothing is missing. */
  fill(scope: Scope): string;
  /** Whether some attributes would make it this text. */
  canGive(text: string): boolean;
  /** The text with "x" for each attribute. */
  readonly sample: string;
}

const PART = /\{((?:[a-z][a-z0-9_]{0,31}\.)?[a-z][a-zA-Z0-9_]{0,63})\}|([^{}]+)/y;
const PIECE = /^[a-zA-Z0-9._-]+$/;

type Part = { readonly text: string } | { readonly attribute: string };

/**
 * A filled-in attribute is one path segment or a piece of one: a value that held a slash would choose its own path.
 * Throws resource.
 */
export function compileTemplate(text: string, platforms: readonly string[]): Template {
  const parts = partsOf(text);
  const names = parts.flatMap((part) => ('attribute' in part ? [part.attribute] : []));
  for (const name of names) ensureNamesKind(name, platforms);
  const join = (valueAt: (attribute: string) => string | undefined) =>
    parts.map((part) => ('text' in part ? part.text : valueAt(part.attribute))).join('');
  return {
    missing: (scope) => names.find((name) => !PIECE.test(scope.valueOf(name) ?? '')),
    fill: (scope) => join((attribute) => scope.valueOf(attribute)),
    canGive: (wanted) => endsOf(parts, wanted).has(wanted.length),
    sample: join(() => 'x'),
  };
}

/** Where in `text` the parts may end, one after the other from its start. */
function endsOf(parts: readonly Part[], text: string): ReadonlySet<number> {
  let ends = new Set([0]);
  for (const part of parts) ends = 'text' in part ? after(part.text, text, ends) : pastPiece(text, ends);
  return ends;
}

const after = (part: string, text: string, ends: ReadonlySet<number>): Set<number> =>
  new Set([...ends].filter((at) => text.startsWith(part, at)).map((at) => at + part.length));

/** An attribute is one character or more. */
function pastPiece(text: string, ends: ReadonlySet<number>): Set<number> {
  const past = new Set<number>();
  for (let at = Math.min(...ends), inside = false; at < text.length; at += 1) {
    inside = (inside || ends.has(at)) && PIECE.test(text.charAt(at));
    if (inside) past.add(at + 1);
  }
  return past;
}

/** A name that no platform of the identity can prove would never be filled. Throws resource. */
export function ensureNamesKind(name: string, platforms: readonly string[]): void {
  const kinds = platforms.map(attributePrefix);
  const [kind, attribute] = name.split('.');
  const known = attribute === undefined ? kinds.length === 1 : kinds.includes(kind ?? '');
  ensure(known, 'resource', `{${name}}: expected one of ${kinds.map((each) => `{${each}.…}`).join(', ')}`);
}

function partsOf(text: string): readonly Part[] {
  const parts: Part[] = [];
  for (PART.lastIndex = 0; PART.lastIndex < text.length; ) {
    const at = PART.lastIndex;
    const match = PART.exec(text);
    ensure(match !== null, 'resource', `"${text}": expected {attribute} or text at column ${at + 1}`);
    parts.push(match[1] === undefined ? { text: match[0] } : { attribute: match[1] });
  }
  return parts;
}

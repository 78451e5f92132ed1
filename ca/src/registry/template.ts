/**
 * `{attribute}` in a SPIFFE ID or a DNS name. An attribute that is missing refuses; it never becomes an empty
 * segment.
 */
import { ensure } from '@chancery/shared/errors.ts';

export interface Template {
  /** The first attribute that it needs and that is not there, or that is not a piece of one path segment. */
  missing(attributes: Readonly<Record<string, string>>): string | undefined;
  /** Only where nothing is missing. */
  fill(attributes: Readonly<Record<string, string>>): string;
  /** As if each attribute were "x". */
  readonly sample: string;
}

const PART = /\{([a-z][a-zA-Z0-9_]{0,63})\}|([^{}]+)/y;
const PIECE = /^[a-zA-Z0-9._-]+$/;

type Part = { readonly text: string } | { readonly attribute: string };

/**
 * A filled-in attribute is one path segment or a piece of one: a value that held a slash would choose its own path.
 * Throws resource.
 */
export function compileTemplate(text: string): Template {
  const parts = partsOf(text);
  const names = parts.flatMap((part) => ('attribute' in part ? [part.attribute] : []));
  const join = (valueAt: (attribute: string) => string | undefined) =>
    parts.map((part) => ('text' in part ? part.text : valueAt(part.attribute))).join('');
  return {
    missing: (attributes) =>
      names.find((name) => !Object.hasOwn(attributes, name) || !PIECE.test(attributes[name] ?? '')),
    fill: (attributes) => join((attribute) => attributes[attribute]),
    sample: join(() => 'x'),
  };
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

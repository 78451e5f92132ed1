/**
 * `{attribute}` in a SPIFFE ID or a DNS name. An attribute that is missing refuses; it never becomes an empty
 * segment.
 */
import { ensure } from '@chancery/shared/errors.ts';

export interface Template {
  /** Undefined where an attribute is missing. */
  fill(attributes: Readonly<Record<string, string>>): string | undefined;
  missing(attributes: Readonly<Record<string, string>>): string | undefined;
}

const PART = /\{([a-z][a-zA-Z0-9_]{0,63})\}|([^{}]+)/y;

type Part = { readonly text: string } | { readonly attribute: string };

/**
 * A filled-in attribute is one path segment or a piece of one: a value that held a slash would choose its own path.
 * Throws resource.
 */
export function compileTemplate(text: string): Template {
  const parts = partsOf(text);
  const missing = (attributes: Readonly<Record<string, string>>) =>
    parts
      .flatMap((part) => ('attribute' in part ? [part.attribute] : []))
      .find((name) => !Object.hasOwn(attributes, name) || !/^[a-zA-Z0-9._-]+$/.test(attributes[name] ?? ''));
  return {
    missing,
    fill: (attributes) =>
      missing(attributes) === undefined
        ? parts.map((part) => ('text' in part ? part.text : attributes[part.attribute])).join('')
        : undefined,
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

/**
 * Patterns over what a completion is about: the name of a prompt, or the text of a template of resources. A literal, a
 * glob (`*` is any run of characters) or `/regex/` in RE2 syntax, matched against the whole text always; braces are
 * themselves.
 */
import { ensure } from '../../ground/errors.ts';
import { compileGlob } from '../../text/glob.ts';
import { type Pattern, regexPattern } from './pattern.ts';

const MAX_REFERENCE = 2_048;
/** An operator does not write a longer one by hand. */
const MAX_LENGTH = 512;

/** Throws `policy` with the reason. */
export function compileReferencePattern(text: string): Pattern {
  ensure(text.length <= MAX_LENGTH, 'policy', `a completion pattern is longer than ${MAX_LENGTH} characters`);
  if (text.startsWith('/')) return regexPattern(text);
  const says = `${text}: not the name of a prompt, a template of resources, a glob with * or /regex/`;
  ensure(isPrintable(text), 'policy', says);
  return { text, matches: compileGlob(text) };
}

/** Why no rule can allow a completion about this prompt or template; undefined if one can. */
export function whyNoReference(reference: string): string | undefined {
  const { length } = reference;
  if (length > MAX_REFERENCE) return `what is to be completed has a name of ${length} characters`;
  return isPrintable(reference) ? undefined : 'what is to be completed has a name that is not of ASCII';
}

const isPrintable = (text: string): boolean => /^[!-~](?:[ -~]*[!-~])?$/.test(text);

/**
 * Patterns over what a server is used for while it asks its client something: the name of a tool or of a prompt, or the
 * URI of a resource. A literal, a glob (`*` is any run of characters) or `/regex/` in RE2 syntax, matched against the
 * whole always. What it asks while no request of its client is open has the empty name, which `*` matches.
 */
import { ensure } from '../../ground/errors.ts';
import { compileGlob } from '../../text/glob.ts';
import { type Pattern, regexPattern } from './pattern.ts';

/** An operator does not write a longer one by hand. */
const MAX_LENGTH = 512;

/** Throws `policy` with the reason. */
export function compileUsePattern(text: string): Pattern {
  ensure(text.length <= MAX_LENGTH, 'policy', `such a pattern has at most ${MAX_LENGTH} characters`);
  if (text.startsWith('/')) return regexPattern(text);
  const isPrintable = /^[!-~](?:[ -~]*[!-~])?$/.test(text);
  ensure(isPrintable, 'policy', `${text}: not the name of a tool or prompt, a URI, a glob with * or /regex/`);
  return { text, isLiteral: !text.includes('*'), matches: compileGlob(text) };
}

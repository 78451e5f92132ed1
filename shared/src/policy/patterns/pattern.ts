/** What all patterns over names have in common, and those that are RE2 regexes. */
import { createRequire } from 'node:module';
import type { RE2JS } from '@bufbuild/re2';
import { ensure, refusalOf } from '../../ground/errors.ts';

/** A compiled pattern. Matching takes time linear in the name. */
export interface Pattern {
  readonly text: string;
  /** The text is the one name that it covers. */
  readonly isLiteral?: boolean;
  /** Of a URI: the text before its first wildcard or expression. */
  readonly head?: string;
  /** What it covers depends on this, too. */
  readonly by?: string;
  /** Whether the pattern covers the whole name. */
  matches(name: string): boolean;
}

/** RE2's work per character is bounded by the program's size; `(x{1000}){1000}` is refused by RE2 itself. */
const MAX_INSTRUCTIONS = 1_000;

/** `/regex/` in RE2 syntax, matched against the whole name always. Throws `policy` with the reason. */
export function regexPattern(text: string): Pattern {
  ensure(text.length > 2 && text.endsWith('/'), 'policy', `${text}: a regex is written between two slashes`);
  return compiledRegex(text, text.slice(1, -1));
}

/** The pattern with this text, which is the regex `source`. Throws `policy` with the reason. */
export function compiledRegex(text: string, source: string): Pattern {
  let compiled: RE2JS;
  try {
    compiled = engine().compile(source);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw refusalOf(error, 'policy', `${text}: not an RE2 regex: ${why}`);
  }
  const size = compiled.re2().prog.numInst();
  ensure(
    size <= MAX_INSTRUCTIONS,
    'policy',
    `${text}: compiles to ${size} steps, at most ${MAX_INSTRUCTIONS}`,
  );
  return { text, matches: (name) => compiled.testExact(name) };
}

/** Loaded at the first regex: it weighs 8 MB, and most agents are never sent one. */
function engine(): typeof RE2JS {
  return (createRequire(import.meta.url)('@bufbuild/re2') as typeof import('@bufbuild/re2')).RE2JS;
}

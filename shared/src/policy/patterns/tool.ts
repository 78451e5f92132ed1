/**
 * Patterns over tool names: a literal, a glob (`*` is any run of characters), or `/regex/` in RE2 syntax, matched
 * against the whole name always. A name comes from a peer and a pattern from an operator, so matching takes time
 * linear in the name whatever either of them wrote.
 */
import { createRequire } from 'node:module';
import type { RE2JS } from '@bufbuild/re2';
import { ensure, refusalOf } from '../../ground/errors.ts';
import { matchGlob } from '../../text/glob.ts';

/** MCP 2025-11-25, server/tools: a name has 1 to 128 characters. It also bounds the work of a pattern. */
export const MAX_TOOL_NAME = 128;

export interface ToolPattern {
  readonly text: string;
  /** Whether the pattern covers the whole name of the tool. */
  matches(tool: string): boolean;
}

/** An operator does not write a longer name by hand. */
const MAX_LENGTH = 256;
/** RE2's work per character is bounded by the program's size; `(x{1000}){1000}` is refused by RE2 itself. */
const MAX_INSTRUCTIONS = 1_000;

/** Throws `policy` with the reason. */
export function compileToolPattern(text: string): ToolPattern {
  ensure(text.length <= MAX_LENGTH, 'policy', `a tool pattern is longer than ${MAX_LENGTH} characters`);
  if (text.startsWith('/')) return regex(text);
  // The tool names of the MCP specification, and the marks that servers put between a prefix and a name.
  ensure(/^[A-Za-z0-9_.:@/*-]+$/.test(text), 'policy', `${text}: not a tool name, a glob with * or /regex/`);
  return { text, matches: (tool) => matchGlob(text, tool) };
}

function regex(text: string): ToolPattern {
  ensure(text.length > 2 && text.endsWith('/'), 'policy', `${text}: a regex is written between two slashes`);
  let compiled: RE2JS;
  try {
    compiled = engine().compile(text.slice(1, -1));
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
  return { text, matches: (tool) => compiled.testExact(tool) };
}

/** Loaded at the first regex: it weighs 8 MB, and most agents are never sent one. */
function engine(): typeof RE2JS {
  return (createRequire(import.meta.url)('@bufbuild/re2') as typeof import('@bufbuild/re2')).RE2JS;
}

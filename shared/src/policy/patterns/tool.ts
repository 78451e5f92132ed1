/**
 * Patterns over names of tools and prompts: a literal, a glob (`*` is any run of characters), or `/regex/` in RE2
 * syntax, matched against the whole name always. A name comes from a peer and a pattern from an operator, so matching
 * takes time linear in the name whatever either of them wrote.
 */
import { ensure } from '../../ground/errors.ts';
import { compileGlob } from '../../text/glob.ts';
import { type Pattern, regexPattern } from './pattern.ts';

/** MCP 2025-11-25, server/tools: a name has 1 to 128 characters. It also bounds the work of a pattern. */
export const MAX_TOOL_NAME = 128;

/** An operator does not write a longer name by hand. */
const MAX_LENGTH = 256;

/** Throws `policy` with the reason. */
export const compileToolPattern = (text: string): Pattern => compileNamePattern(text, 'tool');
/** Throws `policy` with the reason. */
export const compilePromptPattern = (text: string): Pattern => compileNamePattern(text, 'prompt');

/** Why no rule can allow a tool of this name; undefined if one can. */
export const whyNoTool = (name: string): string | undefined => whyNoName(name, 'tool');
/** Why no rule can allow a prompt of this name; undefined if one can. */
export const whyNoPrompt = (name: string): string | undefined => whyNoName(name, 'prompt');

function compileNamePattern(text: string, noun: string): Pattern {
  ensure(text.length <= MAX_LENGTH, 'policy', `a ${noun} pattern is longer than ${MAX_LENGTH} characters`);
  if (text.startsWith('/')) return regexPattern(text);
  // The tool names of the MCP specification, and the marks that servers put between a prefix and a name.
  ensure(
    /^[A-Za-z0-9_.:@/*-]+$/.test(text),
    'policy',
    `${text}: not a ${noun} name, a glob with * or /regex/`,
  );
  return { text, isLiteral: !text.includes('*'), matches: compileGlob(text) };
}

function whyNoName(name: string, noun: string): string | undefined {
  if (name.length > MAX_TOOL_NAME) return `the ${noun}'s name has ${name.length} characters`;
  if (isCanonical(name)) return undefined;
  return `the ${noun}'s name has characters that cannot be seen, or another form of common ones`;
}

/**
 * MCP asks for letters, digits and `_-.` (2025-11-25, server/tools), and servers use more. A server may ignore
 * invisible characters, or read another Unicode form of the same name. So a name that is not canonical could be another
 * one there, and no rule can allow it.
 */
function isCanonical(name: string): boolean {
  // Nearly every name. Such a name is its own canonical form, so this only saves work.
  if (/^[\w.-]+$/.test(name)) return true;
  const seen = name.normalize('NFKC').replace(/[\p{C}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}]/gu, '');
  return seen.trim().replace(/\s+/gu, ' ') === name;
}

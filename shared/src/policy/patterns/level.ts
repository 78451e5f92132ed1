/** How much of a server's log its clients may have: a level, and those that are more severe. */
import { ensure } from '../../ground/errors.ts';
import type { Pattern } from './pattern.ts';

/** Of log messages (RFC 5424 section 6.2.1, as MCP names them), the least severe first. */
export const LEVELS = [
  'debug',
  'info',
  'notice',
  'warning',
  'error',
  'critical',
  'alert',
  'emergency',
] as const;
export type Level = (typeof LEVELS)[number];

/** Matches the level and those that are more severe. Throws `policy`. */
export function compileLevel(text: string): Pattern {
  const least = severityOf(text);
  ensure(least !== -1, 'policy', `${text}: not a level of log messages: ${LEVELS.join(', ')}`);
  return { text, matches: (level) => severityOf(level) >= least };
}

/** Why no rule can allow log messages of this level; undefined if one can. */
export const whyNoLevel = (level: string): string | undefined =>
  severityOf(level) === -1 ? `log messages have no level of this name: ${LEVELS.join(', ')}` : undefined;

/** The level and those that are more severe, in that order; none for a level that there is not. */
export const levelsFrom = (level: string): readonly Level[] =>
  severityOf(level) === -1 ? [] : LEVELS.slice(severityOf(level));

/** -1 for a level that there is not. */
const severityOf = (level: string): number => (LEVELS as readonly string[]).indexOf(level);

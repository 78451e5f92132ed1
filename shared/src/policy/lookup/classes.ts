/** Classes of tools: what a McpServer says that a call of a tool does. Nothing that the server itself says counts. */
import { isRefusal } from '../../ground/errors.ts';
import type { Pattern } from '../patterns/pattern.ts';
import { compileToolPattern } from '../patterns/tool.ts';

export const ACTIONS = ['read', 'query', 'update', 'admin'] as const;
export type Action = (typeof ACTIONS)[number];

/** By name or pattern. */
export type ClassTable = Readonly<Record<string, { readonly action: Action }>>;

/**
 * The class of a tool: that of its name, else those of all patterns that match it. An unclassified tool has none, and
 * one whose patterns differ has several.
 */
function classesIn(table: ClassTable): (tool: string) => readonly Action[] {
  const patterns = Object.entries(table).flatMap(([text, { action }]) =>
    isPattern(text) ? [{ pattern: patternOr(text), action }] : [],
  );
  return (tool) => {
    const named = Object.hasOwn(table, tool) && !isPattern(tool) ? table[tool] : undefined;
    if (named !== undefined) return [named.action];
    const matching = patterns.filter(({ pattern }) => pattern.matches(tool));
    return [...new Set(matching.map(({ action }) => action))];
  };
}

/** What an older release accepted as a name, and `apply` refuses now, covers nothing. */
function patternOr(text: string): Pattern {
  try {
    return compileToolPattern(text);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return { text, matches: () => false };
  }
}

/** Other keys are names, whatever they look like. */
export const isPattern = (text: string): boolean => text.includes('*') || text.startsWith('/');

/**
 * Covers the tools of these classes at one server. Of a tool with several classes, an allow must name all, and a deny
 * only one.
 */
export function byAction(actions: readonly Action[], table: ClassTable, answer: 'allow' | 'deny'): Pattern {
  const classesOf = classesIn(table);
  const isNamed = (action: Action): boolean => actions.includes(action);
  return {
    text: `action ${actions.join(' or ')}`,
    by: JSON.stringify(table),
    matches: (tool) => {
      const classes = classesOf(tool);
      return answer === 'deny' ? classes.some(isNamed) : classes.length > 0 && classes.every(isNamed);
    },
  };
}

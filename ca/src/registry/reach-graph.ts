/** Grants as text that other programs draw. */
import type { Grant } from './reach.ts';

/** The formats of `graphOf`. */
export const GRAPHS = ['mermaid', 'dot'] as const;
export type GraphFormat = (typeof GRAPHS)[number];

/** A graph from callers to servers, with what they may use at the edges. Ends with a line break. */
export function graphOf(grants: readonly Grant[], format: GraphFormat): string {
  return format === 'dot' ? dot(grants) : mermaid(grants);
}

function mermaid(grants: readonly Grant[]): string {
  const names = namesOf(grants);
  const nodes = [...names].map(([key, name]) => `  ${name}["${entities(labelOf(key))}"]`);
  const edges = grants.map(
    (each) =>
      `  ${names.get(callerOf(each))} -->|"${entities(namesOfGrant(each))}"| ${names.get(serverOf(each))}`,
  );
  return ['flowchart LR', ...nodes, ...edges, ''].join('\n');
}

function dot(grants: readonly Grant[]): string {
  const names = namesOf(grants);
  const nodes = [...names].map(
    ([key, name]) => `  ${name} [label=${quoted(labelOf(key))}, shape=${isServer(key) ? 'box' : 'ellipse'}];`,
  );
  const edges = grants.map(
    (each) =>
      `  ${names.get(callerOf(each))} -> ${names.get(serverOf(each))} [label=${quoted(namesOfGrant(each))}];`,
  );
  return ['digraph reach {', '  rankdir=LR;', ...nodes, ...edges, '}', ''].join('\n');
}

const callerOf = ({ who }: Grant): string => `caller ${who}`;
const serverOf = ({ server }: Grant): string => `server ${server}`;
const isServer = (key: string): boolean => key.startsWith('server ');
const labelOf = (key: string): string => key.slice(key.indexOf(' ') + 1);

/** A short name for each caller and each server. */
function namesOf(grants: readonly Grant[]): ReadonlyMap<string, string> {
  const keys = new Set(grants.flatMap((each) => [callerOf(each), serverOf(each)]));
  return new Map([...keys].map((key, index) => [key, `n${index}`]));
}

/** The names, of which kind if they are not tools, and in parentheses those that are denied. */
function namesOfGrant({ kind, names, except, exceptForSome }: Grant): string {
  const denied = [...except, ...exceptForSome.map((text) => `${text} for some`)];
  const allowed = `${kind === 'tool' ? '' : `${kind} `}${names.join(', ')}`;
  return denied.length === 0 ? allowed : `${allowed} (not ${denied.join(', ')})`;
}

/** Mermaid reads `#34;` as the character of that number, and most signs as its own syntax. */
const entities = (text: string): string =>
  text.replace(/[^\w .,:/*()-]/gu, (sign) => `#${sign.codePointAt(0)};`);

const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;

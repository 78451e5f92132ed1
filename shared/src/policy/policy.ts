/** Resources, compiled once a version into what a decision needs. */
import { ensure } from '../ground/errors.ts';
import type { SpiffeId } from '../spiffe/id.ts';
import { Memo } from './memo.ts';
import { compileSpiffePattern } from './patterns/spiffe.ts';
import { compileToolPattern, MAX_TOOL_NAME } from './patterns/tool.ts';
import { type Access, BLOCKS } from './resources/access.ts';
import { type ClearRule, clearFieldsOf } from './resources/clear.ts';
import type { McpServer } from './resources/server.ts';
import { type Line, Rules } from './rules.ts';

/** Immutable, except for a memo of its own answers. A new version is a new Policy, so no answer outlives its rules. */
export interface Policy {
  readonly version: bigint;
  readonly servers: ReadonlyMap<string, McpServer>;
  /** What the rules say about this caller at this server. */
  rulesFor(caller: SpiffeId, server: string): Rules;
  /** JSON Pointers to the arguments that a record of a call of this tool has in clear. */
  clearFor(server: string, tool: string): readonly string[];
}

interface CompiledAccess {
  readonly name: string;
  readonly who: readonly ((id: SpiffeId) => boolean)[];
  readonly servers: ReadonlySet<string>;
  readonly allow: readonly Line[];
  readonly deny: readonly Line[];
}

/** So many pairs of caller and server, or of server and tool, are remembered; what is forgotten is computed again. */
const PAIRS = 10_000;

/**
 * Throws `policy`, naming the rule. A rule may name a server that is not here: an agent is sent only what
 * concerns it.
 */
export function compilePolicy(resources: readonly (McpServer | Access)[], version: bigint): Policy {
  const servers = byName(resources.filter((resource) => resource.kind === 'McpServer'));
  const rules = [...byName(resources.filter((resource) => resource.kind === 'Access')).values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(compileAccess);
  const remembered = new Memo<string, Rules>(PAIRS);
  const clear = new Map([...servers.values()].map((each) => [each.name, clearRulesOf(each)]));
  const rememberedClear = new Memo<string, readonly string[]>(PAIRS);
  return {
    version,
    servers,
    rulesFor: (caller, server) =>
      remembered.get(`${caller} ${server}`, () =>
        rulesOf(rules.filter((rule) => speaksOf(rule, caller, server))),
      ),
    clearFor(server, tool) {
      const about = clear.get(server) ?? [];
      if (about.length === 0 || tool.length > MAX_TOOL_NAME) return [];
      return rememberedClear.get(`${server} ${tool}`, () => clearFieldsOf(about, tool));
    },
  };
}

const clearRulesOf = ({ clear = [] }: McpServer): readonly ClearRule[] =>
  clear.map(({ tools, fields }) => ({ tools: tools.map(compileToolPattern), fields }));

function byName<T extends McpServer | Access>(resources: readonly T[]): Map<string, T> {
  const named = new Map<string, T>();
  for (const resource of resources) {
    ensure(!named.has(resource.name), 'policy', `two ${resource.kind} resources are named ${resource.name}`);
    named.set(resource.name, resource);
  }
  return named;
}

function compileAccess(access: Access): CompiledAccess {
  const { name, who, servers } = access;
  const lines = (effect: 'allow' | 'deny'): Line[] =>
    BLOCKS.flatMap(({ key, kind, compile }) =>
      (access[key]?.[effect] ?? []).map((text) => ({ rule: name, kind, pattern: compile(text) })),
    );
  return {
    name,
    who: who.map(compileSpiffePattern),
    servers: new Set(servers),
    allow: lines('allow'),
    deny: lines('deny'),
  };
}

function speaksOf(rule: CompiledAccess, caller: SpiffeId, server: string): boolean {
  return rule.servers.has(server) && rule.who.some((matches) => matches(caller));
}

/** No resource says what to ask about yet. */
function rulesOf(rules: readonly CompiledAccess[]): Rules {
  const allow = rules.flatMap((rule) => rule.allow);
  return new Rules({ allow, ask: [], deny: rules.flatMap((rule) => rule.deny) });
}

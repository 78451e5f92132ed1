/** Resources, compiled once a version into what a decision needs. */
import { ensure } from '../ground/errors.ts';
import { KINDS, type Who } from './call.ts';
import { before } from './condition/before.ts';
import { compileWhen, MAX_CONDITIONS, type When } from './condition/when.ts';
import { ByCaller } from './lookup/by-caller.ts';
import { ByName } from './lookup/by-name.ts';
import { type Action, byAction } from './lookup/classes.ts';
import { Memo } from './memo.ts';
import { compileLevel } from './patterns/level.ts';
import type { Pattern } from './patterns/pattern.ts';
import { compileSpiffePattern } from './patterns/spiffe.ts';
import { compileToolPattern, MAX_TOOL_NAME } from './patterns/tool.ts';
import { compileRate } from './rate/rate.ts';
import type { RatedRule } from './rate/rated.ts';
import { type Access, BLOCKS } from './resources/access.ts';
import { type ClearRule, clearFieldsOf } from './resources/clear.ts';
import type { McpServer } from './resources/server.ts';
import { type Line, Rules } from './rules.ts';

/** Immutable, except for a memo of its own answers. A new version is a new Policy, so no answer outlives its rules. */
export interface Policy {
  readonly version: bigint;
  readonly servers: ReadonlyMap<string, McpServer>;
  /** What the rules say about this caller at this server. In a scope only rules that name it allow anything. */
  rulesFor(who: Who, server: string): Rules;
  /** JSON Pointers to the arguments that a record of a call of this tool has in clear. */
  clearFor(server: string, tool: string): readonly string[];
}

interface CompiledAccess {
  /** Its place among the rules. */
  readonly at: number;
  readonly name: string;
  readonly when: When | undefined;
  readonly scopes: readonly string[];
  readonly allow: readonly Line[];
  readonly deny: readonly Line[];
  readonly allowActions: readonly Action[];
  readonly denyActions: readonly Action[];
  readonly rate: Omit<RatedRule, 'rule' | 'lines'> | undefined;
}

/** So many pairs of caller and server, or of server and tool, are remembered; what is forgotten is computed again. */
const PAIRS = 10_000;

/**
 * Throws `policy`, naming the rule. A rule may name a server that is not here: an agent is sent only what
 * concerns it.
 */
export function compilePolicy(resources: readonly (McpServer | Access)[], version: bigint): Policy {
  const servers = byName(resources.filter((resource) => resource.kind === 'McpServer'));
  const rules = indexed(
    [...byName(resources.filter((resource) => resource.kind === 'Access')).values()],
    servers,
  );
  const remembered = new Memo<string, Rules>(PAIRS);
  const clear = new Map([...servers.values()].map((each) => [each.name, clearRulesOf(each)]));
  const rememberedClear = new Memo<string, readonly string[]>(PAIRS);
  return {
    version,
    servers,
    rulesFor: ({ caller, scope }, server) =>
      remembered.get(`${caller} ${server} ${scope ?? ''}`, () =>
        rulesOf([...(rules.get(server)?.find(caller) ?? [])], servers.get(server), scope),
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

/** The rules by server, then by caller. */
function indexed(
  rules: readonly Access[],
  servers: ReadonlyMap<string, McpServer>,
): ReadonlyMap<string, ByCaller<CompiledAccess>> {
  const index = new Map<string, ByCaller<CompiledAccess>>();
  const conditions = new Set<string>();
  for (const [at, rule] of rules.toSorted((a, b) => (a.name < b.name ? -1 : 1)).entries()) {
    if (rule.when !== undefined) conditions.add(rule.when);
    const compiled = compileAccess(rule, at);
    for (const who of rule.who) compileSpiffePattern(who);
    for (const name of rule.servers) {
      const server = servers.get(name);
      const why = server === undefined ? undefined : whyNotBeside(rule, server);
      ensure(why === undefined, 'policy', `Access/${rule.name}: ${why}`);
      const about = index.get(name) ?? new ByCaller();
      index.set(name, about);
      for (const who of rule.who) about.add(who, compiled);
    }
  }
  const says = `${conditions.size} different conditions, at most ${MAX_CONDITIONS} are taken`;
  ensure(conditions.size <= MAX_CONDITIONS, 'policy', says);
  return index;
}

/** Why a rule cannot be for this server: its condition reads what messages to the server may lack. */
export function whyNotBeside({ when }: Access, { name, era }: McpServer): string | undefined {
  if (when === undefined || era === 'legacy' || !compileWhen(when).reads.has('session')) return undefined;
  return `when reads session, which messages of the modern era lack: McpServer/${name} needs era: legacy`;
}

function compileAccess(access: Access, at: number): CompiledAccess {
  const { name, tools, logging, scopes = [], when: text } = access;
  const when = text === undefined ? undefined : compileWhen(text);
  const rule = { rule: name, ...(when === undefined ? {} : { when }) };
  const lines = (effect: 'allow' | 'deny'): Line[] =>
    BLOCKS.flatMap(({ kind, compile, patternsOf }) =>
      patternsOf(access, effect).map((pattern) => ({ ...rule, kind, pattern: compile(pattern, effect) })),
    );
  const { allowActions = [], denyActions = [] } = tools ?? {};
  const logs: readonly Line[] =
    logging === undefined ? [] : [{ ...rule, kind: 'logging', pattern: compileLevel(logging) }];
  const allow = [...lines('allow'), ...logs, ...everythingOf(access, when)];
  const rate = rateOf(access);
  return { at, name, when, scopes, allow, deny: lines('deny'), allowActions, denyActions, rate };
}

function rateOf({ rate }: Access): CompiledAccess['rate'] {
  if (rate === undefined) return undefined;
  return {
    calls: rate.calls === undefined ? undefined : compileRate(rate.calls, rate.burst),
    tools: Object.entries(rate.tools ?? {}).map(([text, of]) => ({
      pattern: compileToolPattern(text),
      rate: compileRate(of),
    })),
  };
}

/** Stands for an allow of every kind, until its end. */
function everythingOf({ name: rule, everything }: Access, when: When | undefined): readonly Line[] {
  if (everything === undefined) return [];
  const line = { rule, says: `everything until ${everything.until}`, when: before(everything.until, when) };
  return KINDS.map((kind) => ({ ...line, kind, pattern: ALL }));
}

/** Without a name of its own: what no rule can allow is refused before. */
const ALL: Pattern = { text: '*', matches: () => true };

/** No resource says what to ask about yet. */
function rulesOf(
  found: readonly CompiledAccess[],
  server: McpServer | undefined,
  scope: string | undefined,
): Rules {
  const rules = found.toSorted((a, b) => a.at - b.at);
  const byClass = (
    { name: rule, when, ...by }: CompiledAccess,
    answer: 'allow' | 'deny',
  ): readonly Line[] => {
    const actions = answer === 'allow' ? by.allowActions : by.denyActions;
    if (actions.length === 0) return [];
    const pattern = byAction(actions, server?.tools ?? {}, answer);
    return [{ rule, kind: 'tool', pattern, ...(when === undefined ? {} : { when }) }];
  };
  const allowing = scope === undefined ? rules : rules.filter(({ scopes }) => scopes.includes(scope));
  const allow = allowing.flatMap((rule) => [...rule.allow, ...byClass(rule, 'allow')]);
  const deny = rules.flatMap((rule) => [...rule.deny, ...byClass(rule, 'deny')]);
  const rates = rules.flatMap((rule) =>
    rule.rate === undefined
      ? []
      : [{ rule: rule.name, ...rule.rate, lines: new ByName([...rule.allow, ...byClass(rule, 'allow')]) }],
  );
  return new Rules({ allow, ask: [], deny }, { observe: server?.observe?.until, rates });
}

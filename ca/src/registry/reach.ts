/** Who may use what of which servers, read off the rules: for an auditor, and for an incident. Pure. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Kind } from '@chancery/shared/policy/call.ts';
import { compareSpiffePattern, type Reach as Extent } from '@chancery/shared/policy/patterns/spiffe.ts';
import { compileToolPattern, whyNoTool } from '@chancery/shared/policy/patterns/tool.ts';
import { type Access, BLOCKS } from '@chancery/shared/policy/resources/access.ts';
import type { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { hasEnded } from '@chancery/shared/policy/resources/until.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { isReserved } from '@chancery/shared/spiffe/reserved.ts';
import type { Resource } from './resources.ts';

/** What is left out counts for all. */
export interface ReachQuery {
  /** The identity that calls, or that serves. */
  readonly id?: SpiffeId | undefined;
  /** An McpServer. */
  readonly server?: string | undefined;
  readonly tool?: string | undefined;
}

/** All that the rules let one caller do at one server with things of one kind. */
export interface Grant {
  /** A SPIFFE ID, or a pattern of them. */
  readonly who: string;
  readonly server: string;
  readonly kind: Kind;
  /** Patterns of the tools, the URIs of resources, the prompts or the completions that rules allow. */
  readonly names: readonly string[];
  /** Patterns that rules deny: a deny beats every allow. */
  readonly except: readonly string[];
  /** As `except`, for some of the SPIFFE IDs that `who` stands for. */
  readonly exceptForSome: readonly string[];
  /** The Access resources, by name. */
  readonly rules: readonly string[];
}

/** Arguments that records of calls have in clear, at one server: one rule of it. */
export interface InClear {
  readonly server: string;
  /** Patterns of tools. */
  readonly tools: readonly string[];
  /** JSON Pointers. */
  readonly fields: readonly string[];
}

export interface Reach {
  /** What the identity may call, read and get; empty if the query names none. */
  readonly calls: readonly Grant[];
  /** Who may use the servers: those of the identity, or those that the query names. */
  readonly callers: readonly Grant[];
  /** Of the same servers as `callers`. */
  readonly clear: readonly InClear[];
}

/** What counts at `now`. Throws resource if no McpServer has the name, and if no rule can allow the tool. */
export function reachOf(all: readonly Resource[], { id, server, tool }: ReachQuery, now: Date): Reach {
  const resources = all.filter((each) => !hasEnded(each, now));
  const named = resources.filter((each) => each.kind === 'McpServer');
  const known = server === undefined || named.some(({ name }) => name === server);
  ensure(known, 'resource', `no McpServer/${server} is in force: see chancery-ca get McpServer`);
  const why = tool === undefined ? undefined : whyNoTool(tool);
  ensure(why === undefined, 'resource', `no rule can allow this tool: ${why}`);
  const rules = resources.filter((each) => each.kind === 'Access').map(ruleOf);
  const servers = named.filter(({ name }) => server === undefined || name === server);
  const serving = servers.filter(({ identity }) => id === undefined || identity === id);
  const matches = matcherOf(tool);
  const narrow = narrowTo(matches);
  const clear = serving.flatMap((each) => inClearAt(each)).flatMap(narrowClearTo(matches));
  return {
    clear,
    calls:
      id === undefined
        ? []
        : servers.flatMap(({ name }) => grantsOf(id, name, aboutServer(name, rules))).flatMap(narrow),
    callers: serving.flatMap((each) => grantsAt(each, rules)).flatMap(narrow),
  };
}

interface Rule {
  readonly access: Access;
  /** Whether the rule speaks of all SPIFFE IDs that a pattern stands for. Remembered: servers share callers. */
  readonly speaksOf: (who: string) => Extent;
}

function ruleOf(access: Access): Rule {
  const patterns = access.who.map(compareSpiffePattern);
  const known = new Map<string, Extent>();
  const extentOf = (who: string): Extent => {
    const extents = patterns.map((reaches) => reaches(who));
    if (extents.includes('all')) return 'all';
    return extents.includes('some') ? 'some' : 'none';
  };
  return {
    access,
    speaksOf: (who) => {
      const extent = known.get(who) ?? extentOf(who);
      known.set(who, extent);
      return extent;
    },
  };
}

/** Whether the target of a revocation, as the CA lists it, is this identity as a whole. */
export const revokesIdentity = ({ kind, value }: { kind: string; value: string }, id: SpiffeId): boolean =>
  kind === 'id'
    ? value === id
    : kind === 'pattern' && compareSpiffePattern(value)(id) === 'all' && !isReserved(id);

function grantsAt({ name }: McpServer, rules: readonly Rule[]): readonly Grant[] {
  const about = aboutServer(name, rules);
  const who = [...new Set(about.flatMap(({ access }) => access.who))].toSorted();
  return who.flatMap((each) => grantsOf(each, name, about));
}

const aboutServer = (name: string, rules: readonly Rule[]): readonly Rule[] =>
  rules.filter(({ access }) => access.servers.includes(name));

/** Nothing if no rule allows anything. No rule speaks of a reserved name. `about` are the rules of the server. */
function grantsOf(who: string, server: string, about: readonly Rule[]): readonly Grant[] {
  if (isReserved(who)) return [];
  const speaking = (extent: Extent): readonly Access[] =>
    about.flatMap(({ access, speaksOf }) => (speaksOf(who) === extent ? [access] : []));
  const [sure, perhaps] = [speaking('all'), speaking('some')];
  return BLOCKS.flatMap(({ key, kind }): readonly Grant[] => {
    const except = unique(sure.flatMap((rule) => rule[key]?.deny ?? []));
    const names = unique(sure.flatMap((rule) => rule[key]?.allow ?? []));
    if (names.every((each) => except.includes('*') || except.includes(each))) return [];
    const own = sure.filter((rule) => rule[key] !== undefined);
    const denying = perhaps.filter((rule) => (rule[key]?.deny.length ?? 0) > 0);
    const exceptForSome = unique(denying.flatMap((rule) => rule[key]?.deny ?? []));
    const rules = unique([...own, ...denying].map(({ name }) => name));
    return [{ who, server, kind, names, except, exceptForSome, rules }];
  });
}

const inClearAt = ({ name, clear = [] }: McpServer): readonly InClear[] =>
  clear.map((rule) => ({ server: name, ...rule }));

type Matcher = (pattern: string) => boolean;

/** Whether a pattern matches the tool; undefined for all tools. Remembered: servers share patterns. */
function matcherOf(tool: string | undefined): Matcher | undefined {
  if (tool === undefined) return undefined;
  const known = new Map<string, boolean>();
  return (text) => {
    const found = known.get(text) ?? compileToolPattern(text).matches(tool);
    known.set(text, found);
    return found;
  };
}

/** Keeps only the patterns that match the tool, and nothing of a caller that may not call it. */
function narrowTo(matches: Matcher | undefined): (grant: Grant) => readonly Grant[] {
  if (matches === undefined) return (grant) => [grant];
  return (grant) => {
    if (grant.kind !== 'tool') return [];
    const names = grant.names.filter(matches);
    if (names.length === 0 || grant.except.some(matches)) return [];
    return [{ ...grant, names, except: [], exceptForSome: grant.exceptForSome.filter(matches) }];
  };
}

/** Keeps only the patterns that match the tool. */
function narrowClearTo(matches: Matcher | undefined): (rule: InClear) => readonly InClear[] {
  if (matches === undefined) return (rule) => [rule];
  return (rule) => {
    const tools = rule.tools.filter(matches);
    return tools.length === 0 ? [] : [{ ...rule, tools }];
  };
}

const unique = (values: readonly string[]): readonly string[] => [...new Set(values)].toSorted();

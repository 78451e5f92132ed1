/** Who may use what of which servers, read off the rules: for an auditor, and for an incident. Pure. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Kind } from '@chancery/shared/policy/call.ts';
import { byAction } from '@chancery/shared/policy/lookup/classes.ts';
import type { Pattern } from '@chancery/shared/policy/patterns/pattern.ts';
import { compareSpiffePattern, type Reach as Extent } from '@chancery/shared/policy/patterns/spiffe.ts';
import { compileToolPattern, whyNoTool } from '@chancery/shared/policy/patterns/tool.ts';
import { type Access, BLOCKS, type Block } from '@chancery/shared/policy/resources/access.ts';
import type { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { standing } from '@chancery/shared/policy/resources/until.ts';
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
  /** Patterns of the tools (and their classes), URIs, prompts and so on that rules allow, with the condition. */
  readonly names: readonly string[];
  /** Patterns that rules deny: a deny beats every allow. */
  readonly except: readonly string[];
  /** As `except`, for some of the SPIFFE IDs that `who` stands for, or where the rule's condition does not clear it. */
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

/** A server whose gateway lets pass what rules deny of those who may reach it. */
export interface Observing {
  readonly server: string;
  /** RFC 3339. */
  readonly until: string;
}

export interface Reach {
  /** What the identity may call, read and get; empty if the query names none. */
  readonly calls: readonly Grant[];
  /** Who may use the servers: those of the identity, or those that the query names. */
  readonly callers: readonly Grant[];
  /** Of the same servers as `callers`. */
  readonly clear: readonly InClear[];
  /** Of all servers that the query is about. */
  readonly observing: readonly Observing[];
}

/** What counts at `now`. Throws resource if no McpServer has the name, and if no rule can allow the tool. */
export function reachOf(all: readonly Resource[], { id, server, tool }: ReachQuery, now: Date): Reach {
  const resources = standing(all, now);
  const named = resources.filter((each) => each.kind === 'McpServer');
  const known = server === undefined || named.some(({ name }) => name === server);
  ensure(known, 'resource', `no McpServer/${server} is in force: see chancery-ca get McpServer`);
  const why = tool === undefined ? undefined : whyNoTool(tool);
  ensure(why === undefined, 'resource', `no rule can allow this tool: ${why}`);
  const rules = resources.filter((each) => each.kind === 'Access').map(ruleOf);
  const servers = named.filter(({ name }) => server === undefined || name === server);
  const serving = servers.filter(({ identity }) => id === undefined || identity === id);
  const matches = matcherOf(tool);
  const clear = serving.flatMap((each) => inClearAt(each)).flatMap(narrowClearTo(matches));
  return {
    clear,
    observing: servers.flatMap(({ name, observe }) =>
      observe === undefined ? [] : [{ server: name, until: observe.until }],
    ),
    calls:
      id === undefined
        ? []
        : servers.flatMap((each) => grantsOf(id, each, { about: aboutServer(each.name, rules), matches })),
    callers: serving.flatMap((each) => grantsAt(each, rules, matches)),
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

function grantsAt(server: McpServer, rules: readonly Rule[], matches: Matcher | undefined): readonly Grant[] {
  const about = aboutServer(server.name, rules);
  const who = [...new Set(about.flatMap(({ access }) => access.who))].toSorted();
  return who.flatMap((each) => grantsOf(each, server, { about, matches }));
}

const aboutServer = (name: string, rules: readonly Rule[]): readonly Rule[] =>
  rules.filter(({ access }) => access.servers.includes(name));

interface Asked {
  /** The rules of the server. */
  readonly about: readonly Rule[];
  readonly matches: Matcher | undefined;
}

const EFFECTS = ['allow', 'deny'] as const;

/** Nothing if no rule allows anything. No rule speaks of a reserved name. */
function grantsOf(who: string, server: McpServer, { about, matches }: Asked): readonly Grant[] {
  if (isReserved(who)) return [];
  const speaking = (extent: Extent): readonly Access[] =>
    about.flatMap(({ access, speaksOf }) => (speaksOf(who) === extent ? [access] : []));
  const [sure, perhaps] = [speaking('all'), speaking('some')];
  const blocks = matches === undefined ? BLOCKS : BLOCKS.filter(({ kind }) => kind === 'tool');
  return blocks.flatMap((block): readonly Grant[] => {
    const partsOf = (rules: readonly Access[], effect: 'allow' | 'deny'): readonly Part[] =>
      rules
        .flatMap((rule) => partsOfRule(rule, { block, server, effect }))
        .filter(({ pattern }) => matches === undefined || matches(pattern));
    const allowed = partsOf(sure, 'allow');
    const denied = partsOf(sure.filter(isUnconditional), 'deny');
    const texts = denied.map(({ text }) => text);
    if (matches !== undefined && denied.length > 0) return [];
    if (allowed.every(({ pattern }) => texts.includes('*') || texts.includes(pattern.text))) return [];
    const sometimes = partsOf([...sure.filter((rule) => !isUnconditional(rule)), ...perhaps], 'deny');
    const speaks = (rule: Access): boolean =>
      EFFECTS.some((effect) => partsOfRule(rule, { block, server, effect }).length > 0);
    const own = sure.filter(speaks).map(({ name }) => name);
    return [
      {
        ...{ who, server: server.name, kind: block.kind },
        ...{ names: textsOf(allowed), except: textsOf(denied), exceptForSome: textsOf(sometimes) },
        rules: unique([...own, ...sometimes.map(({ rule }) => rule)]),
      },
    ];
  });
}

/** One pattern of a rule; the text has the rule's condition, too. */
interface Part {
  readonly rule: string;
  readonly pattern: Pattern;
  readonly text: string;
}

const isUnconditional = ({ when }: Access): boolean => when === undefined;
const textsOf = (parts: readonly Part[]): readonly string[] => unique(parts.map(({ text }) => text));

interface Place {
  readonly block: Block;
  readonly server: McpServer;
  readonly effect: 'allow' | 'deny';
}

function partsOfRule(access: Access, { block, server, effect }: Place): readonly Part[] {
  const { name: rule, tools, when, everything } = access;
  const actions = block.kind === 'tool' ? tools?.[`${effect}Actions`] : undefined;
  const classes = actions === undefined ? [] : [byAction(actions, server.tools ?? {}, effect)];
  const patterns = block.patternsOf(access, effect).map((text) => block.compile(text, effect));
  const all: readonly Pattern[] =
    everything === undefined || effect === 'deny'
      ? []
      : [{ text: `everything until ${everything.until}`, matches: () => true }];
  const only = when === undefined ? '' : ` when ${when.trim().replaceAll(/\s+/g, ' ')}`;
  return [...patterns, ...classes, ...all].map((pattern) => ({
    rule,
    pattern,
    text: `${pattern.text}${only}`,
  }));
}

const inClearAt = ({ name, clear = [] }: McpServer): readonly InClear[] =>
  clear.map((rule) => ({ server: name, ...rule }));

type Matcher = (pattern: Pattern) => boolean;

/** Whether a pattern matches the tool; undefined for all tools. */
const matcherOf = (tool: string | undefined): Matcher | undefined =>
  tool === undefined ? undefined : (pattern) => pattern.matches(tool);

/** Keeps only the patterns that match the tool. */
function narrowClearTo(matches: Matcher | undefined): (rule: InClear) => readonly InClear[] {
  if (matches === undefined) return (rule) => [rule];
  return (rule) => {
    const tools = rule.tools.filter((text) => matches(compileToolPattern(text)));
    return tools.length === 0 ? [] : [{ ...rule, tools }];
  };
}

const unique = (values: readonly string[]): readonly string[] => [...new Set(values)].toSorted();

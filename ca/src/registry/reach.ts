/** Who may call which tools of which servers, read off the rules: for an auditor, and for an incident. Pure. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Access, McpServer } from '@chancery/shared/policy/resources.ts';
import { covers, overlaps } from '@chancery/shared/policy/spiffe-pattern.ts';
import { compileToolPattern } from '@chancery/shared/policy/tool-pattern.ts';
import { hasEnded } from '@chancery/shared/policy/until.ts';
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

/** All that the rules let one caller do at one server. */
export interface Grant {
  /** A SPIFFE ID, or a pattern of them. */
  readonly who: string;
  readonly server: string;
  /** Patterns of tools that rules allow. */
  readonly tools: readonly string[];
  /** Patterns of tools that rules deny: a deny beats every allow. */
  readonly except: readonly string[];
  /** As `except`, for some of the SPIFFE IDs that `who` stands for. */
  readonly exceptForSome: readonly string[];
  /** The Access resources, by name. */
  readonly rules: readonly string[];
}

export interface Reach {
  /** What the identity may call; empty if the query names none. */
  readonly calls: readonly Grant[];
  /** Who may call the servers: those of the identity, or those that the query names. */
  readonly callers: readonly Grant[];
}

/** What counts at `now`. Throws resource if no McpServer has the name. */
export function reachOf(all: readonly Resource[], query: ReachQuery, now: Date): Reach {
  const resources = all.filter((each) => !hasEnded(each, now));
  const named = resources.filter((each) => each.kind === 'McpServer');
  const rules = resources.filter((each) => each.kind === 'Access');
  const { id, server, tool } = query;
  const known = server === undefined || named.some(({ name }) => name === server);
  ensure(known, 'resource', `no McpServer/${server} is in force: see chancery-ca get McpServer`);
  const servers = named.filter(({ name }) => server === undefined || name === server);
  const asked = (grants: readonly Grant[]) => grants.flatMap((each) => narrowed(each, tool));
  const serving = servers.filter(({ identity }) => id === undefined || identity === id);
  return {
    calls: id === undefined ? [] : asked(servers.flatMap(({ name }) => grantOf(id, name, rules))),
    callers: asked(serving.flatMap((each) => grantsAt(each, rules))),
  };
}

/** Whether the target of a revocation, as the CA lists it, is this identity as a whole. */
export const revokesIdentity = ({ kind, value }: { kind: string; value: string }, id: SpiffeId): boolean =>
  kind === 'id' ? value === id : kind === 'pattern' && covers(value, id) && !isReserved(id);

function grantsAt({ name }: McpServer, rules: readonly Access[]): readonly Grant[] {
  const about = rules.filter(({ servers }) => servers.includes(name));
  const who = [...new Set(about.flatMap((rule) => rule.who))].toSorted();
  return who.flatMap((each) => grantOf(each, name, about));
}

/** None if no rule allows anything. No rule speaks of a reserved name. */
function grantOf(who: string, server: string, rules: readonly Access[]): readonly Grant[] {
  if (isReserved(who)) return [];
  const about = rules.filter(({ servers }) => servers.includes(server));
  const sure = about.filter((rule) => rule.who.some((pattern) => covers(pattern, who)));
  const some = about.filter((rule) => !sure.includes(rule) && rule.who.some((each) => overlaps(each, who)));
  const tools = unique(sure.flatMap((rule) => rule.tools.allow));
  if (tools.length === 0) return [];
  const except = unique(sure.flatMap((rule) => rule.tools.deny));
  const exceptForSome = unique(some.flatMap((rule) => rule.tools.deny));
  const denying = some.filter((rule) => rule.tools.deny.length > 0);
  return [
    {
      who,
      server,
      tools,
      except,
      exceptForSome,
      rules: unique([...sure, ...denying].map(({ name }) => name)),
    },
  ];
}

/** Only the patterns that match the tool; nothing if the caller may not call it. */
function narrowed(grant: Grant, tool: string | undefined): readonly Grant[] {
  if (tool === undefined) return [grant];
  const matching = (patterns: readonly string[]) =>
    patterns.filter((text) => compileToolPattern(text).matches(tool));
  const tools = matching(grant.tools);
  if (tools.length === 0 || matching(grant.except).length > 0) return [];
  return [{ ...grant, tools, except: [], exceptForSome: matching(grant.exceptForSome) }];
}

const unique = (values: readonly string[]): readonly string[] => [...new Set(values)].toSorted();

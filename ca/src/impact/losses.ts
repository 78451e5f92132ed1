/**
 * What a new set of resources takes from agents that are connected or have an unexpired certificate: a SPIFFE ID that
 * their evidence no longer earns, so that renewals are refused, and MCP servers that they are no longer the gateway of.
 */

import { isRefusal } from '@chancery/shared/ground/errors.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { CertifiedAgent } from '../agents/agents.ts';
import { Breath } from '../registry/breath.ts';
import { type Facts, provenBy } from '../registry/identity/facts.ts';
import type { Identity } from '../registry/identity/identity.ts';
import { keyOf, type Resource, type ResourceSet } from '../registry/resources.ts';

export interface Loss {
  readonly id: SpiffeId;
  readonly what: 'identity' | 'server';
  /** The name of the Identity or the McpServer. */
  readonly name: string;
  /** False if the evidence of an agent is not known. */
  readonly certain: boolean;
  readonly why: string;
  /** The agents that lose it: the first 10. */
  readonly agents: readonly CertifiedAgent[];
  /** How many lose it, and how many of them are connected. */
  readonly count: number;
  readonly connected: number;
}

/** Agents that a loss names. */
const MAX_NAMED = 10;

interface Change {
  readonly before: ResourceSet;
  readonly after: ResourceSet;
}

type Counted = { -readonly [K in keyof Loss]: Loss[K] } & { readonly agents: CertifiedAgent[] };

/** What one change takes, agent by agent. */
export class Losses {
  readonly #change: Change;
  readonly #factsOf: (agent: CertifiedAgent) => Facts | undefined;
  readonly #kept: ReadonlySet<string>;
  readonly #servers: ReadonlyMap<string, readonly Lost[]>;
  readonly #found = new Map<string, Counted>();
  readonly #breath = new Breath();

  /** `factsOf` returns undefined if the agent's evidence is not known. */
  constructor(change: Change, factsOf: (agent: CertifiedAgent) => Facts | undefined) {
    this.#change = change;
    this.#factsOf = factsOf;
    this.#kept = unchanged(change);
    this.#servers = lostServers(change);
  }

  /** By SPIFFE ID. */
  list(): readonly Loss[] {
    return [...this.#found.values()].toSorted((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  }

  /** Each agent is added once. Lets other work run between agents. */
  async add(agents: readonly CertifiedAgent[], how: { readonly connected: boolean }): Promise<void> {
    for (const agent of agents) {
      if (!this.#kept.has(`Identity/${agent.identity}`)) {
        const lost = lostIdentity(agent, this.#factsOf(agent), this.#change);
        if (lost !== undefined) this.#count(agent, lost, how);
      }
      for (const lost of this.#servers.get(agent.id) ?? []) this.#count(agent, lost, how);
      await this.#breath.take();
    }
  }

  #count(agent: CertifiedAgent, lost: Lost, { connected }: { readonly connected: boolean }): void {
    const key = JSON.stringify([agent.id, lost]);
    const loss = this.#found.get(key) ?? { id: agent.id, ...lost, agents: [], count: 0, connected: 0 };
    if (loss.agents.length < MAX_NAMED) loss.agents.push(agent);
    loss.count += 1;
    if (connected) loss.connected += 1;
    this.#found.set(key, loss);
  }
}

type Lost = Omit<Loss, 'id' | 'agents' | 'count' | 'connected'>;

/** Resources of before that the new set has with the same content, perhaps by another name; each as kind and name. */
function unchanged({ before, after }: Change): ReadonlySet<string> {
  const contentOf = (each: Resource): string => JSON.stringify({ ...each, name: '' });
  const contents = new Set(after.resources.map(contentOf));
  return new Set(before.resources.filter((each) => contents.has(contentOf(each))).map(keyOf));
}

function lostIdentity(
  { id, identity: name, platform }: CertifiedAgent,
  facts: Facts | undefined,
  { before, after }: Change,
): Lost | undefined {
  const proven = provenBy({ platform, attributes: {} });
  const givers = ({ identities }: ResourceSet) =>
    identities.filter((each) => each.platforms.every((one) => proven.includes(one)) && each.canGive(id));
  const lost = { what: 'identity', name, why: whyLost(after, { name, id, facts }) } as const;
  if (facts === undefined) return { ...lost, certain: givers(after).length === 0 };
  const earned = (set: ResourceSet) => givers(set).some((each) => earnedBy(each, facts) === id);
  return earned(before) && !earned(after) ? { ...lost, certain: true } : undefined;
}

/** The SPIFFE ID, or why there is none. */
function earnedBy(identity: Identity, facts: Facts): string {
  try {
    return identity.earn(facts).id;
  } catch (error) {
    if (isRefusal(error)) return error.message;
    throw error;
  }
}

function whyLost(
  { identities }: ResourceSet,
  { name, id, facts }: { name: string; id: SpiffeId; facts: Facts | undefined },
): string {
  const now = identities.find((each) => each.name === name);
  if (now === undefined) return `Identity/${name} is removed`;
  if (!now.canGive(id)) return `Identity/${name} gives other SPIFFE IDs`;
  return facts === undefined ? `Identity/${name} is changed` : earnedBy(now, facts);
}

const isServer = (each: Resource) => each.kind === 'McpServer';

/** Lost servers by the SPIFFE ID of their gateway. */
function lostServers({ before, after }: Change): ReadonlyMap<string, readonly Lost[]> {
  const now = new Map(after.resources.filter(isServer).map((each) => [each.name, each.identity]));
  const lost = before.resources.filter(isServer).flatMap(({ name, identity }) => {
    const next = now.get(name);
    if (next === identity) return [];
    const why = `McpServer/${name} ${next === undefined ? 'is removed' : `gets the identity ${next}`}`;
    return [{ identity, lost: { what: 'server', name, certain: true, why } as const }];
  });
  return new Map(
    [...Map.groupBy(lost, ({ identity }) => identity)].map(([id, all]) => [id, all.map((each) => each.lost)]),
  );
}

/** Looks at the store and at the open streams for what a rotation waits for. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Agents, LiveAgent } from '../agents/agents.ts';
import { keyOf, OWN_NODE } from '../agents/holders.ts';
import { saysLacking } from '../authority/above.ts';
import type { AuthorityDeps } from '../authority/certify.ts';
import { standbyKeysHere } from '../keys/standby-here.ts';
import type { AgentStore, Holding, HoldingsPage, StoredAuthority } from '../store/store.ts';
import { missing } from './offline.ts';
import { issuersUnder, type Standing } from './stage.ts';
import { type Found, type Held, later, type Straggler } from './status.ts';

export interface LookDeps extends Pick<AuthorityDeps, 'keys'> {
  readonly agents: Pick<Agents, 'list' | 'lastStream'>;
  readonly store: Pick<AgentStore, 'holdings'>;
  readonly revocations: { readonly sets: Source<RevocationSet> };
  readonly clock: Clock;
}

/** What agents acknowledge with the bundle, by the number that it changed it with. */
type Published = Pick<StoredAuthority, 'sequence' | 'movedAt'>;

/** Connected agents that are not revoked, and those of them that have not acknowledged it. */
export function behind(published: Published, deps: ConnectedDeps): Pick<Found, 'agents' | 'stragglers'> {
  const connected = connectedAgents(deps);
  return {
    agents: connected.length,
    stragglers: connected.flatMap((each) => stragglerOf(each, published)),
  };
}

type ConnectedDeps = Pick<LookDeps, 'revocations' | 'clock'> & { readonly agents: Pick<Agents, 'list'> };

function connectedAgents({ agents, revocations, clock }: ConnectedDeps) {
  const [now, revoked] = [clock.now(), revocations.sets.current()];
  return agents
    .list()
    .filter(({ id, serial, ...node }) => revoked.revoked({ id, serial, node }, now) === undefined);
}

/** All of it is read, page by page, and other calls of the store are answered in between. Throws store. */
export async function look(
  records: readonly StoredAuthority[],
  standing: Standing,
  deps: LookDeps,
): Promise<Found> {
  const { stage, other } = standing;
  const now = deps.clock.now();
  const revoked = deps.revocations.sets.current();
  const connected = connectedAgents(deps);
  // One that comes back before its certificate ends is waited for.
  const isRevoked = ({ id, node, until }: Holding): boolean => {
    const found = revoked.revoked({ id, serial: '', node }, now);
    return found !== undefined && (found.until === undefined || found.until >= until);
  };
  const found = {
    above: saysLacking(records, now),
    warnings: await standbyKeysHere(records, deps.keys),
    missing: await missing(records, standing, deps),
    agents: connected.length,
    stragglers: [],
    unheard: [],
    chained: [],
  };
  if (other === undefined || stage === 'prepared') return found;
  if (stage === 'retiring')
    return {
      ...found,
      chained: await held(issuersUnder(records, other, now), { now, deps, counts: isOthers }),
    };
  // A holder with a stream answers for itself. Nobody accepts one that is revoked until its certificate ends.
  const streams = new Set(connected.map(keyOf));
  const counts = (each: Holding): boolean =>
    isOthers(each) && !streams.has(keyOf({ id: each.id, ...each.node })) && !isRevoked(each);
  const all = records.filter(({ kind, notAfter }) => kind === 'intermediate' && notAfter > now);
  const silent = await held(all, { now, deps, counts, bundleBelow: other.sequence });
  const unheard = silent.map((each) => {
    const last = deps.agents.lastStream(each.id);
    return last === undefined ? each : { ...each, last };
  });
  return { ...found, stragglers: connected.flatMap((each) => stragglerOf(each, other)), unheard };
}

/** Unexpired certificates under an authority, other than the CA's own, by SPIFFE ID. Throws store. */
export function heldUnder(
  records: readonly StoredAuthority[],
  authority: StoredAuthority,
  deps: HeldDeps,
): Promise<readonly Held[]> {
  const now = deps.clock.now();
  const issuers = authority.kind === 'root' ? issuersUnder(records, authority, now) : [authority];
  return held(issuers, { now, deps, counts: isOthers });
}

type HeldDeps = Pick<LookDeps, 'store' | 'clock'>;

/** The CA replaces its own certificate by itself, right before the root that it is under is removed. */
const isOthers = ({ node }: Holding): boolean => node.platform !== OWN_NODE.platform;

function stragglerOf(agent: LiveAgent, { sequence, movedAt }: Published): readonly Straggler[] {
  if (agent.acknowledged.has({ bundle: sequence })) return [];
  const { id, platform, node, address, version, connectedAt } = agent;
  const since = later(connectedAt, movedAt);
  return [{ id, platform, node, address, version, since }];
}

interface How {
  readonly now: Date;
  readonly deps: HeldDeps;
  readonly counts: (holding: Holding) => boolean;
  readonly bundleBelow?: bigint;
}

/** By SPIFFE ID, those that end last first. */
async function held(issuers: readonly StoredAuthority[], how: How): Promise<readonly Held[]> {
  const { now, deps, counts, bundleBelow } = how;
  const all = new Map<SpiffeId, Held>();
  for (const { serial: issuer } of issuers) {
    let after: HoldingsPage['next'];
    do {
      const page: HoldingsPage = await deps.store.holdings({ issuer, now, bundleBelow, after });
      for (const each of page.list.filter(counts)) all.set(each.id, added(all.get(each.id), each));
      after = page.next;
    } while (after !== undefined);
  }
  return [...all.values()].toSorted((a, b) => b.until.getTime() - a.until.getTime());
}

function added(before: Held | undefined, { id, count, until }: Holding): Held {
  if (before === undefined) return { id, certificates: count, until };
  return { id, certificates: before.certificates + count, until: later(before.until, until) };
}

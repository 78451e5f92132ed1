/** The operator's verbs about resources: apply a set, show what it would change, explain decisions. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Call } from '@chancery/shared/policy/call.ts';
import { parseSpiffeId, type SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Agents } from '../agents/agents.ts';
import { type Holders, type Look, type Unacknowledged, unacknowledgedBy } from '../agents/holders.ts';
import { whenAcknowledged } from '../agents/progress.ts';
import { type Loss, Losses } from '../impact/losses.ts';
import type { Change } from '../registry/diff.ts';
import { type Explanation, explainCall, explainFacts } from '../registry/explain.ts';
import type { Facts } from '../registry/identity/facts.ts';
import type { Applied, ApplyOptions, Registry } from '../registry/registry.ts';
import { type ResourceFile, warnEnded } from '../registry/resources.ts';
import type { Revocations } from '../revocation/revocations.ts';
import { ensureOwn, ofServers, widening, withRest } from './scope.ts';
import { digestOf } from './second.ts';
import { type Acting, reading, type VerbDeps, writing } from './verb.ts';

export interface ResourceDeps extends VerbDeps {
  readonly agents: Pick<Agents, 'factsOf' | 'list' | 'has' | 'onProgress'>;
  readonly clock: Clock;
  readonly holders: Holders;
  readonly registry: Registry;
  readonly revocations: Pick<Revocations, 'ensureGood'>;
}

/** A whole set. */
export interface SetOrder {
  readonly files: readonly ResourceFile[];
  readonly how: ApplyOptions;
}

export interface ApplyOrder extends SetOrder {
  readonly dryRun: boolean;
}

/** What a change of the set does or would do. */
export interface ChangeReport {
  readonly changes: readonly Change[];
  readonly warnings: readonly string[];
  /** In force now. */
  readonly version: number;
  readonly losses: readonly Loss[];
  /** Who has not acknowledged the change within a second. Undefined if nothing has changed. */
  readonly unacknowledged: Unacknowledged | undefined;
  /** Of a dry run: that of the request of a second person for this very change; undefined if it needs none. */
  readonly digest: string | undefined;
}

export type ExplainQuery =
  | { readonly kind: 'facts'; readonly facts: Facts }
  | { readonly kind: 'call'; readonly call: Call };

/**
 * `apply` with `dryRun`, `diff`, `explain` and `resources` change nothing. Throws resource, with every problem of a
 * set at once.
 */
export const resourceVerbs = (deps: ResourceDeps) => ({
  apply: writing<ApplyOrder, ChangeReport>(
    {
      name: 'apply',
      about: ({ files, dryRun }) =>
        dryRun ? undefined : files.length === 1 ? '1 file' : `${files.length} files`,
      run: (order, _, acting) => applied(order, acting, deps),
    },
    deps,
  ),
  diff: reading<SetOrder, ChangeReport>(
    'diff',
    (order, acting) => applied({ ...order, dryRun: true }, acting, deps),
    deps,
  ),
  explain: reading('explain', async (query: ExplainQuery) => explain(query, deps), deps),
  /** The set in force; for an owner of servers their part of it. */
  resources: reading(
    'resources',
    async (_: undefined, { servers }) => ofServers(deps.registry.sets.current(), servers),
    deps,
  ),
});

/** Applies a set, or shows what it would change; an owner's set is their part of it. */
async function applied(order: ApplyOrder, acting: Acting, deps: ResourceDeps): Promise<ChangeReport> {
  const { registry } = deps;
  const { servers, by } = acting;
  const { dryRun } = order;
  const base = registry.sets.current();
  const files = servers === undefined ? order.files : withRest(base, order.files, servers);
  const how = servers === undefined ? order.how : {};
  const ensureScope = (found: Applied): void => {
    if (servers === undefined) return;
    ensure(found.version === base.version, 'resource', 'somebody applied another set meanwhile; try again');
    ensureOwn(found, { by, servers });
  };
  const agree = async (found: Applied): Promise<void> => {
    ensureScope(found);
    if (widening(found).length === 0) return;
    acting.ensureFresh();
    await acting.takeSecond({ exact: exactOf(found), about: aboutChanges(found) });
  };
  if (!dryRun) {
    const report = await reportOf(await registry.apply(files, by, { ...how, agree }), deps, order, servers);
    return { ...report, digest: undefined };
  }
  const found = await registry.diff(files, how);
  ensureScope(found);
  const needsSecond = deps.second !== undefined && widening(found).length > 0;
  const digest = needsSecond ? digestOf('apply', exactOf(found)) : undefined;
  return { ...(await reportOf(found, deps, order, servers)), digest };
}

const aboutChanges = ({ changes, version }: Applied): readonly string[] => [
  changes.length === 1 ? `of version ${version}` : `${changes.length} changes of version ${version}`,
  ...changes.map(({ change, key }) => `${change} ${key}`),
];

/** The set that is applied, and the one that it replaces: a change in between needs another countersignature. */
const exactOf = ({ after, version }: Applied) => ({ resources: after.resources, version });

async function reportOf(
  applied: Applied,
  deps: ResourceDeps,
  { dryRun }: { readonly dryRun: boolean },
  servers: readonly string[] | undefined,
): Promise<Omit<ChangeReport, 'digest'>> {
  const { changes, version } = applied;
  const ended = warnEnded(ofServers({ ...applied.after, version }, servers), deps.clock.now());
  // Those of the set may name what an owner does not see.
  const warnings = [...(servers === undefined ? applied.warnings : []), ...ended];
  if (changes.length === 0) return { changes, warnings, version, losses: [], unacknowledged: undefined };
  const wanted = { policy: BigInt(version) };
  const behind = dryRun ? [] : await whenAcknowledged(deps.agents, wanted, deps.clock);
  const losses = new Losses(applied, (agent) => deps.agents.factsOf(agent));
  let away = 0;
  const look = await deps.holders.look(async (page) => {
    const left = page.filter(({ revoked }) => !revoked);
    away += left.length;
    await losses.add(left, { connected: false });
  });
  await losses.add(look.connected, { connected: true });
  return {
    changes,
    warnings: [...unseen(look, away), ...warnings],
    version,
    losses: losses.list(),
    unacknowledged: dryRun ? undefined : unacknowledgedBy(look, away, { wanted, behind }),
  };
}

const unseen = ({ whole }: Look, away: number): readonly string[] =>
  whole ? [] : [`losses are of connected agents and of ${away} others with a certificate; there are more`];

function explain(query: ExplainQuery, { registry, revocations, clock }: ResourceDeps): Explanation {
  const [set, now] = [registry.sets.current(), clock.now()];
  if (query.kind === 'call')
    return unlessRevoked(explainCall(set, query.call, now), query.call.caller, revocations);
  const explained = explainFacts(set, query.facts, now);
  const [first] = explained.spiffeIds.map(parseSpiffeId);
  return unlessRevoked(explained, first, revocations);
}

/** Says that an identity is revoked: then the CA issues nothing, and gateways do not ask the rules. */
function unlessRevoked(
  explained: Explanation,
  id: SpiffeId | undefined,
  revocations: ResourceDeps['revocations'],
): Explanation {
  if (id === undefined) return explained;
  try {
    revocations.ensureGood({ id }, 'revoked_peer');
    return explained;
  } catch (error) {
    if (!isRefusal(error, 'revoked_peer')) throw error;
    return { ...explained, allow: false, lines: [...explained.lines, `but it is revoked: ${error.message}`] };
  }
}

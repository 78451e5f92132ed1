/** The operator's verbs that revoke, lift revocations, and release machines from what the CA holds them to. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { type MadeRevocation, parseReason, type Target } from '@chancery/shared/revocation/revocation.ts';
import type { Agents, LiveAgent } from '../agents/agents.ts';
import { type Holders, OWN_NODE, type Unacknowledged, unacknowledged } from '../agents/holders.ts';
import { whenAcknowledged } from '../agents/progress.ts';
import type { RevocationOrder } from '../revocation/draft.ts';
import { type Matched, matcherOf, type NamedTarget, type Revocations } from '../revocation/revocations.ts';
import type { OperatorStore } from '../store/operator-store.ts';
import type { NodeStore } from '../store/store.ts';
import { type Acting, reading, type VerbDeps, writing } from './verb.ts';

export interface RevokeDeps extends VerbDeps {
  readonly agents: Pick<Agents, 'list' | 'has' | 'onProgress'>;
  readonly clock: Clock;
  readonly holders: Holders;
  readonly revocations: Revocations;
  readonly store: Pick<NodeStore, 'nodeState'> & Pick<OperatorStore, 'releaseNode'>;
}

export interface ReleaseOrder {
  /** platform/node. */
  readonly node: string;
  readonly reason: string;
  readonly dryRun: boolean;
}

export interface RevokeOrder extends NamedTarget {
  /** A CRLReason of RFC 5280 by its name. */
  readonly reason: string;
  /** 0 for no end. */
  readonly seconds: number;
  readonly dryRun: boolean;
}

/** What a revocation cuts off or would cut off. */
export interface RevokeReport extends Matched {
  /** Undefined after a dry run, as `unacknowledged`. */
  readonly made: MadeRevocation | undefined;
  /** The revoked value; for a serial, all its digits. */
  readonly value: string;
  /** How many of the agents had an open trust stream. */
  readonly agents: number;
  /** Holders that can connect and have not acknowledged it within a second. */
  readonly unacknowledged: Unacknowledged | undefined;
}

/** A revocation that is over, and others in force that cut off all of what it did. */
export interface Lifted {
  readonly revocation: MadeRevocation;
  readonly still: readonly MadeRevocation[];
}

const MAX_REASON = 1000;
/** A hundred years: more is a mistake, and much more is not a valid Date. */
const MAX_SECONDS = 100 * 365 * 86_400;

/**
 * `revoke` makes the revocation durable, pushes it to agents, and waits up to 1 s for them to acknowledge it. Throws
 * revocation.
 */
export const revocationVerbs = (deps: RevokeDeps) => ({
  revoke: writing<RevokeOrder, RevokeReport>(
    {
      name: 'revoke',
      about: ({ kind, value, dryRun }) => (dryRun ? undefined : `${kind} ${value}`),
      run: (order, by) => revoke(order, by, deps),
    },
    deps,
  ),
  /** By its number. */
  lift: writing<number, Lifted>(
    {
      name: 'lift',
      about: (number) => {
        const target = targetOf(number, deps);
        return `revocation ${number}${target === undefined ? '' : ` of ${target.kind} ${target.value}`}`;
      },
      state: (number) => targetOf(number, deps),
      look: async (number) =>
        ensure(
          targetOf(number, deps) !== undefined,
          'revocation',
          `there is no revocation ${number} in force`,
        ),
      run: async (number, by) => {
        const revocation = await deps.revocations.lift(number, by);
        return { revocation, still: await deps.revocations.alsoCutOff(revocation.target) };
      },
    },
    deps,
  ),
  /** Answers with what is forgotten. Throws node_state. */
  releaseNode: writing<ReleaseOrder, string>(
    {
      name: 'releaseNode',
      about: ({ node, reason, dryRun }) => (dryRun ? undefined : `${node}, because: ${reason}`),
      takesSecond: true,
      run: (order, by, acting) => release(order, by, acting, deps),
    },
    deps,
  ),
  /** Those in force, by their numbers. */
  revocations: reading('revocations', async (_: undefined) => deps.revocations.standing(), deps),
});

/** Undefined for a revocation that is not in force. */
const targetOf = (wanted: number, { revocations }: RevokeDeps): Target | undefined =>
  revocations.standing().find(({ number }) => number === wanted)?.target;

async function release(order: ReleaseOrder, by: string, { takeSecond }: Acting, { store }: RevokeDeps) {
  const { node, reason, dryRun } = order;
  const slash = node.indexOf('/');
  const name = { platform: node.slice(0, slash), node: node.slice(slash + 1) };
  // Sign-ins of operators are kept in the same place, and are not machines.
  const isMachine = slash > 0 && name.platform !== OWN_NODE.platform;
  ensure(isMachine, 'node_state', `${node} is not platform/node of a machine`);
  const isReason = reason.trim() !== '' && reason.length <= MAX_REASON;
  ensure(isReason, 'node_state', `a reason of 1 to ${MAX_REASON} characters is needed`);
  const state = await store.nodeState(name);
  ensure(state !== undefined, 'node_state', `the CA remembers nothing of ${node}`);
  // What joined since it was asked for is another machine.
  if (!dryRun) await takeSecond({ exact: { order, state }, about: [node, `because: ${reason}`] });
  if (dryRun || (await store.releaseNode(name, state, { reason, by }))) return state;
  throw new IdentityError('node_state', `${node} has joined meanwhile: look again`);
}

async function revoke(wanted: RevokeOrder, by: string, deps: RevokeDeps): Promise<RevokeReport> {
  const { reason, seconds, dryRun } = wanted;
  ensure(seconds <= MAX_SECONDS, 'revocation', `${seconds} seconds are too long: leave the end out`);
  const { revocations } = deps;
  const target = await revocations.named(wanted);
  const order: RevocationOrder = { target, reason: parseReason(reason), seconds, by };
  // Counted before, because agents that are cut off leave the list. The slow part comes after.
  const matches = matcherOf(target);
  const isCutOff = ({ id, serial, platform, node }: LiveAgent): boolean =>
    matches({ id, serial, node: { platform, node } });
  const agents = deps.agents.list().filter(isCutOff).length;
  const made = dryRun ? undefined : await revocations.revoke(order);
  const { sequence } = revocations.sets.current();
  const matched = await revocations.matched(order);
  const report = { made, value: target.value, ...matched, agents };
  if (made === undefined) return { ...report, unacknowledged: undefined };
  const part = { revocations: sequence };
  const behind = await whenAcknowledged(deps.agents, part, deps.clock);
  return { ...report, unacknowledged: await unacknowledged(deps.holders, { wanted: part, behind }) };
}

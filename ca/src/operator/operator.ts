/**
 * What an operator can do with a running CA: verbs with values, for any door. gRPC on the admin socket is one door. A
 * door says who asks, and translates; it decides nothing.
 */
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { type Parts, partsInForce } from '../agents/acknowledged.ts';
import type { LiveAgent } from '../agents/agents.ts';
import { type AwayAgent, type HolderDeps, Holders, keyOf } from '../agents/holders.ts';
import type { Authorities } from '../authority/authorities.ts';
import type { Revocations } from '../revocation/revocations.ts';
import { type Serving, type ServingDeps, servingNow } from '../serving/serving.ts';
import type { AgentStore, CertificateStore, RecordedIssuance } from '../store/store.ts';
import { type AuditDeps, auditVerbs } from './audit.ts';
import { type BackupDeps, backupVerbs } from './backup.ts';
import { type CountersignDeps, countersignVerbs } from './countersign.ts';
import { type ResourceDeps, resourceVerbs } from './resources.ts';
import { type ReviewDeps, reviewVerbs } from './review.ts';
import { type RevokeDeps, revocationVerbs } from './revocations.ts';
import type { VerbName } from './roles.ts';
import { offlineVerbs, type RotateDeps, rotationVerbs } from './rotation.ts';
import { type SecondDeps, takeSecond } from './second.ts';
import { reading, type Verb, type VerbDeps } from './verb.ts';

export interface OperatorDeps
  extends Omit<
      AuditDeps & ResourceDeps & RevokeDeps & RotateDeps & BackupDeps & ReviewDeps,
      'holders' | 'agents' | 'revocations' | 'store' | 'second'
    >,
    Omit<HolderDeps, 'revocations'> {
  readonly revocations: Revocations;
  readonly store: AgentStore &
    Pick<CertificateStore, 'issued'> &
    AuditDeps['store'] &
    BackupDeps['store'] &
    ReviewDeps['store'] &
    RevokeDeps['store'] &
    CountersignDeps['store'] &
    SecondDeps['store'];
  /** Whether what needs a fresh sign-in needs a second person, too. */
  readonly twoPeople: boolean;
  readonly self: ServingDeps['self'];
  readonly authorities: Pick<Authorities, 'bundle' | 'records'>;
}

export interface AgentReport {
  readonly connected: readonly LiveAgent[];
  /**
   * One for each SPIFFE ID on each node, unless an agent with both is connected: the first 1000. Those that are revoked
   * come last.
   */
  readonly away: readonly AwayAgent[];
  /** Without those that are revoked. */
  readonly awayCount: number;
  /** True if there may be more. */
  readonly atLeast: boolean;
  /** What is in force at the CA: an agent with less has not acknowledged it. */
  readonly current: Parts;
}

export interface IssuedQuery {
  /** Undefined for certificates of any SPIFFE ID. */
  readonly id: SpiffeId | undefined;
  /** At most 1000; 0 for 100. */
  readonly limit: number;
}

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
const MAX_AWAY = 1000;

export type Operator = ReturnType<typeof openOperator>;

/** Every verb checks who asks before it acts (see `Verb`). Needs no closing. */
export function openOperator(given: OperatorDeps) {
  const { store } = given;
  const second: VerbDeps['second'] = given.twoPeople
    ? (verb, person, use) => takeSecond(verb, person, use, given)
    : undefined;
  const deps = { ...given, holders: new Holders(given), second };
  const agents: Verb<undefined, AgentReport> = reading('agents', () => agentReport(deps), deps);
  /** Newest first. */
  const issued: Verb<IssuedQuery, readonly RecordedIssuance[]> = reading(
    'issued',
    async ({ id, limit }) => {
      ensure(limit <= MAX_LIMIT, 'message_parse', `limit is ${limit}, at most ${MAX_LIMIT}`);
      return store.issued({ limit: limit === 0 ? DEFAULT_LIMIT : limit, ...(id !== undefined && { id }) });
    },
    deps,
  );
  const serving: Verb<undefined, Serving> = reading('serving', () => servingNow(deps), deps);
  const rotation = rotationVerbs(deps);
  return {
    ...resourceVerbs(deps),
    ...revocationVerbs(deps),
    ...auditVerbs(deps),
    ...backupVerbs(deps),
    ...reviewVerbs(deps),
    ...countersignVerbs(deps),
    ...offlineVerbs(deps),
    ...rotation,
    agents,
    issued,
    serving,
  } satisfies Readonly<Record<VerbName, unknown>>;
}

async function agentReport(deps: OperatorDeps & { readonly holders: Holders }): Promise<AgentReport> {
  const away: AwayAgent[] = [];
  const revoked = new Map<string, AwayAgent>();
  let awayCount = 0;
  const { connected, whole } = await deps.holders.look((page) => {
    for (const each of page) {
      if (each.revoked && revoked.size < MAX_AWAY) revoked.set(keyOf(each), each);
      if (each.revoked) continue;
      revoked.delete(keyOf(each));
      if (away.length < MAX_AWAY) away.push(each);
      awayCount += 1;
    }
  });
  const listed = [...away, ...revoked.values()].slice(0, MAX_AWAY);
  return { connected, away: listed, awayCount, atLeast: !whole, current: partsInForce(deps) };
}

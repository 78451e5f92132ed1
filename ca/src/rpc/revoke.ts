/** The operator's calls that cut off and let in again. */
import type { Revocation as RevocationMessage } from '@chancery/proto/gen/chancery/v1/operator.ts';
import {
  OperatorService,
  type RevokeRequest,
  type RevokeResponse,
  type Unacknowledged as UnacknowledgedMessage,
} from '@chancery/proto/gen/chancery/v1/operator.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { type MadeRevocation, parseReason } from '@chancery/shared/revocation/revocation.ts';
import {
  type AwayAgent,
  type HolderDeps,
  holdersOf,
  type Unacknowledged,
  unacknowledged,
} from '../agents/holders.ts';
import { matcherOf, type RevocationOrder, type Revocations } from '../revocation/revocations.ts';
import { ensureOperator } from './caller.ts';
import { unary } from './methods.ts';

export interface RevokeDeps extends HolderDeps {
  readonly revocations: Revocations;
  /** The user that runs the CA; root is always an operator. */
  readonly ownUid: number;
}

const MAX_LISTED_IDS = 100;
/** A hundred years: beyond is a slip, and beyond some more no Date. */
const MAX_SECONDS = 100n * 365n * 86_400n;

export function revokeMethods(deps: RevokeDeps) {
  const { revocations, ownUid } = deps;
  return [
    unary('Revoke', OperatorService.revoke, async (request: RevokeRequest, caller) =>
      revoke(request, ensureOperator(caller, ownUid), deps),
    ),
    unary('LiftRevocation', OperatorService.liftRevocation, async ({ number }, caller) => {
      const by = ensureOperator(caller, ownUid);
      return { revocation: revocationMessage(await revocations.lift(Number(number), by)) };
    }),
    unary('ListRevocations', OperatorService.listRevocations, async (_, caller) => {
      ensureOperator(caller, ownUid);
      return { revocations: revocations.standing().map(revocationMessage) };
    }),
  ] as const;
}

async function revoke(request: RevokeRequest, by: string, deps: RevokeDeps): Promise<RevokeResponse> {
  const { reason, seconds, dryRun } = request;
  ensure(seconds <= MAX_SECONDS, 'revocation', `${seconds} seconds are too long: leave the end out`);
  const order: RevocationOrder = {
    target: await deps.revocations.named(request),
    reason: parseReason(reason),
    seconds: Number(seconds),
    by,
  };
  // Before: those that are cut off are no longer on the list. What takes time comes after.
  const matches = matcherOf(order.target);
  const isCutOff = ({ id, serial, platform, node }: AwayAgent): boolean =>
    matches({ id, serial, holder: { platform, node } });
  const agents = deps.agents.list().filter(isCutOff);
  const made = dryRun ? undefined : await deps.revocations.revoke(order);
  const wanted = { revocations: deps.revocations.sets.current().sequence };
  const { certificates, ids } = await deps.revocations.matched(order);
  const behind = made && unacknowledged(await holdersOf(deps), wanted, isCutOff);
  return {
    revocation: made && revocationMessage(made),
    certificates: BigInt(certificates),
    agents: BigInt(agents.length),
    spiffeIds: ids.slice(0, MAX_LISTED_IDS),
    value: order.target.value,
    unacknowledged: behind && unacknowledgedMessage(behind),
  };
}

export const unacknowledgedMessage = ({ connected, away }: Unacknowledged): UnacknowledgedMessage => ({
  connected: BigInt(connected),
  away: BigInt(away),
});

const seconds = (time: Date): bigint => BigInt(Math.floor(time.getTime() / 1000));

function revocationMessage({ number, target, reason, by, at, until }: MadeRevocation): RevocationMessage {
  return {
    number: BigInt(number),
    ...target,
    reason,
    by,
    at: seconds(at),
    until: until === undefined ? 0n : seconds(until),
  };
}

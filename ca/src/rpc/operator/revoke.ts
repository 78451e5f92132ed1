/** The operator's calls that revoke and lift revocations, over gRPC. */
import type {
  Revocation as RevocationMessage,
  RevokeResponse,
  Unacknowledged as UnacknowledgedMessage,
} from '@chancery/proto/gen/chancery/v1/operator.ts';
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { unixSeconds } from '@chancery/shared/ground/clock.ts';
import type { MadeRevocation } from '@chancery/shared/revocation/revocation.ts';
import type { Unacknowledged } from '../../agents/holders.ts';
import type { Operator } from '../../operator/operator.ts';
import type { RevokeReport } from '../../operator/revocations.ts';
import { askerOf } from '../caller.ts';
import { unary } from '../methods.ts';

const MAX_LISTED_IDS = 100;

/** Each method names one verb of the operator, which checks who asks. */
export const revokeMethods = (operator: Operator) =>
  [
    unary('Revoke', OperatorService.revoke, async ({ seconds, ...request }, caller) =>
      reportMessage(await operator.revoke(askerOf(caller))({ ...request, seconds: Number(seconds) })),
    ),
    unary('LiftRevocation', OperatorService.liftRevocation, async ({ number }, caller) => {
      const { revocation, still } = await operator.lift(askerOf(caller))(Number(number));
      return { revocation: revocationMessage(revocation), still: still.map(revocationMessage) };
    }),
    unary('ReleaseNode', OperatorService.releaseNode, async (request, caller) => ({
      state: await operator.releaseNode(askerOf(caller))(request),
    })),
    unary('ListRevocations', OperatorService.listRevocations, async (_, caller) => ({
      revocations: (await operator.revocations(askerOf(caller))(undefined)).map(revocationMessage),
    })),
  ] as const;

const reportMessage = (report: RevokeReport): RevokeResponse => ({
  revocation: report.made && revocationMessage(report.made),
  certificates: BigInt(report.certificates),
  certificatesAtLeast: report.more,
  agents: BigInt(report.agents),
  spiffeIds: report.ids.slice(0, MAX_LISTED_IDS),
  value: report.value,
  unacknowledged: report.unacknowledged && unacknowledgedMessage(report.unacknowledged),
});

/** Who has not acknowledged a change, with a trust stream and without one. */
export const unacknowledgedMessage = ({
  connected,
  names,
  away,
  atLeast,
}: Unacknowledged): UnacknowledgedMessage => ({
  connected: BigInt(connected),
  names: [...names],
  away: BigInt(away),
  awayAtLeast: atLeast,
});

function revocationMessage({ number, target, reason, by, at, until }: MadeRevocation): RevocationMessage {
  return {
    number: BigInt(number),
    ...target,
    reason,
    by,
    at: unixSeconds(at),
    until: until === undefined ? 0n : unixSeconds(until),
  };
}

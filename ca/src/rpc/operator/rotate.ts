/** The operator's calls that rotate the root and the intermediate, over gRPC. */
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { HeldTotal, Rotation as RotationMessage } from '@chancery/proto/gen/chancery/v1/rotation.ts';
import type { Operator } from '../../operator/operator.ts';
import { type Held, type RotationStatus, totalOf } from '../../rotation/status.ts';
import type { StoredAuthority } from '../../store/store.ts';
import { askerOf } from '../caller.ts';
import { unary } from '../methods.ts';

const MAX_LISTED = 1000;

/** Each method names one verb of the operator, which checks who asks. */
export const rotateMethods = (operator: Operator) =>
  [
    unary('Rotate', OperatorService.rotate, async (request, caller) =>
      rotationMessage(await operator.rotate(askerOf(caller))(request)),
    ),
    unary('RotateNext', OperatorService.rotateNext, async ({ yesToStragglers, ...request }, caller) =>
      rotationMessage(await operator.rotateNext(askerOf(caller))({ ...request, everybody: yesToStragglers })),
    ),
    unary('RotateRollback', OperatorService.rotateRollback, async (request, caller) =>
      rotationMessage(await operator.rotateRollback(askerOf(caller))(request)),
    ),
    unary('GetRotation', OperatorService.getRotation, async (_, caller) =>
      rotationMessage(await operator.rotationStatus(askerOf(caller))(undefined)),
    ),
  ] as const;

function rotationMessage(status: RotationStatus): RotationMessage {
  const { stage, next, waits, active, other, agents, stragglers, unheard, chained } = status;
  return {
    stage,
    next,
    waits: [...waits],
    roots: [active, ...(other === undefined ? [] : [other])].map(rootMessage),
    agents: BigInt(agents),
    stragglers: stragglers
      .slice(0, MAX_LISTED)
      .map(({ id, since, ...each }) => ({ ...each, spiffeId: id, since: seconds(since) })),
    stragglerCount: BigInt(stragglers.length),
    unheard: unheard.slice(0, MAX_LISTED).map(heldMessage),
    unheardTotal: totalMessage(unheard),
    chained: chained.slice(0, MAX_LISTED).map(heldMessage),
    chainedTotal: totalMessage(chained),
  };
}

const rootMessage = ({ serial, state, movedAt, notAfter, algorithm }: StoredAuthority) => ({
  serial,
  state,
  movedAt: seconds(movedAt),
  notAfter: seconds(notAfter),
  algorithm,
});

const heldMessage = ({ id, certificates, until }: Held) => ({
  spiffeId: id,
  certificates: BigInt(certificates),
  until: seconds(until),
});

function totalMessage(held: readonly Held[]): HeldTotal {
  const { certificates, until } = totalOf(held);
  return {
    spiffeIds: BigInt(held.length),
    certificates: BigInt(certificates),
    until: until === undefined ? 0n : seconds(until),
  };
}

const seconds = (time: Date): bigint => BigInt(Math.floor(time.getTime() / 1000));

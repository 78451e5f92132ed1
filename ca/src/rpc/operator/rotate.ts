/** The operator's calls that rotate the root and the intermediate, over gRPC. */
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type {
  HeldTotal,
  RotatingRoot,
  Rotation as RotationMessage,
} from '@chancery/proto/gen/chancery/v1/rotation.ts';
import { unixSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { endOfChain } from '@chancery/shared/x509/verify/cross.ts';
import type { JwtStatus } from '../../jwt/stage.ts';
import { homeOf } from '../../keys/standby-keys.ts';
import type { Operator } from '../../operator/operator.ts';
import type { JwtOrder } from '../../operator/rotation.ts';
import { type Held, type RotationStatus, totalOf } from '../../rotation/status.ts';
import { isStandby } from '../../store/authority-states.ts';
import type { StoredAuthority, StoredJwtKey } from '../../store/store.ts';
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
    unary('StandBy', OperatorService.standBy, async (request, caller) =>
      rotationMessage(await operator.standBy(askerOf(caller))(request)),
    ),
    unary('RotateJwt', OperatorService.rotateJwt, async ({ yesToStragglers, ...request }, caller) => {
      const run = operator.rotateJwt(askerOf(caller));
      return jwtRotationMessage(
        await run({ ...request, step: stepOf(request.step), everybody: yesToStragglers }),
      );
    }),
    unary('GetJwtRotation', OperatorService.getJwtRotation, async (_, caller) =>
      jwtRotationMessage(await operator.jwtRotationStatus(askerOf(caller))(undefined)),
    ),
    unary('GetRotation', OperatorService.getRotation, async (_, caller) =>
      rotationMessage(await operator.rotationStatus(askerOf(caller))(undefined)),
    ),
  ] as const;

/** Throws message_parse. */
function stepOf(step: string): JwtOrder['step'] {
  ensure(step === 'begin' || step === 'next' || step === 'rollback', 'message_parse', `step "${step}"`);
  return step;
}

function jwtRotationMessage(status: JwtStatus): RotationMessage {
  const { active, other } = status;
  return {
    ...progressMessage({ ...status, unheard: [], chained: [] }),
    roots: [active, other].flatMap((each) => (each === undefined ? [] : [jwtKeyMessage(each)])),
    kind: 'jwt',
    above: [],
    warnings: [],
  };
}

/** A JWT key, as a rotation shows it. */
export const jwtKeyMessage = ({ serial, state, movedAt, algorithm, key }: StoredJwtKey): RotatingRoot => ({
  serial,
  state,
  movedAt: unixSeconds(movedAt),
  notAfter: 0n,
  algorithm,
  keyHome: key.home,
  crossUntil: 0n,
});

function rotationMessage(status: RotationStatus): RotationMessage {
  const { active, other, standby } = status;
  return {
    ...progressMessage(status),
    above: [...status.above],
    warnings: [...status.warnings],
    roots: [active, other, standby].flatMap((each) => (each === undefined ? [] : [rootMessage(each)])),
    kind: '',
  };
}

type Progress = Omit<RotationStatus, 'active' | 'other' | 'standby' | 'missing' | 'above' | 'warnings'>;

function progressMessage(status: Progress): Omit<RotationMessage, 'roots' | 'kind' | 'above' | 'warnings'> {
  const { stage, next, waits, made, endedAt, agents, stragglers, unheard, chained } = status;
  const { leftBehind = [], would = '' } = status;
  return {
    stage,
    next,
    waits: [...waits],
    made: made ?? '',
    leftBehind: leftBehind.slice(0, MAX_LISTED),
    would,
    endedAt: endedAt === undefined ? 0n : unixSeconds(endedAt),
    agents: BigInt(agents),
    stragglers: stragglers
      .slice(0, MAX_LISTED)
      .map(({ id, since, ...each }) => ({ ...each, spiffeId: id, since: unixSeconds(since) })),
    stragglerCount: BigInt(stragglers.length),
    unheard: unheard.slice(0, MAX_LISTED).map(heldMessage),
    unheardTotal: totalMessage(unheard),
    chained: chained.slice(0, MAX_LISTED).map(heldMessage),
    chainedTotal: totalMessage(chained),
  };
}

/** The state in which an operator sees it. */
export const stateOf = (each: StoredAuthority): string =>
  isStandby(each) && each.state === 'published' ? 'standby' : each.state;

/** A root, as a rotation shows it. */
export const rootMessage = (root: StoredAuthority): RotatingRoot => ({
  serial: root.serial,
  state: stateOf(root),
  movedAt: unixSeconds(root.movedAt),
  notAfter: unixSeconds(root.notAfter),
  algorithm: root.algorithm,
  keyHome: homeOf(root),
  crossUntil: crossUntilOf(root),
});

/** The end of what a CA above has certified of it; 0 without that. */
export const crossUntilOf = ({ cross }: StoredAuthority): bigint =>
  cross === undefined ? 0n : unixSeconds(endOfChain(cross.chain));

/** Certificates of one SPIFFE ID. */
export const heldMessage = ({ id, certificates, until, last }: Held) => ({
  spiffeId: id,
  certificates: BigInt(certificates),
  until: unixSeconds(until),
  lastAddress: last?.address ?? '',
  awaySince: last === undefined ? 0n : unixSeconds(last.endedAt),
});

/** Of all of them. */
export function totalMessage(held: readonly Held[]): HeldTotal {
  const { certificates, until } = totalOf(held);
  return {
    spiffeIds: BigInt(held.length),
    certificates: BigInt(certificates),
    until: until === undefined ? 0n : unixSeconds(until),
  };
}

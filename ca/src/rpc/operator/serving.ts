/** What the CA says of itself to an operator, over gRPC. */
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { Serving as ServingMessage } from '@chancery/proto/gen/chancery/v1/serving.ts';
import { unixSeconds } from '@chancery/shared/ground/clock.ts';
import type { Operator } from '../../operator/operator.ts';
import type { Serving } from '../../serving/serving.ts';
import { askerOf } from '../caller.ts';
import { unary } from '../methods.ts';

/** The method names one verb of the operator, which checks who asks. */
export const servingMethods = (operator: Operator) =>
  [
    unary('GetServing', OperatorService.getServing, async (_, caller) =>
      messageOf(await operator.serving(askerOf(caller))(undefined)),
    ),
  ] as const;

const messageOf = ({ loaded, authorities, warnings, ...serving }: Serving): ServingMessage => ({
  version: serving.version,
  since: unixSeconds(serving.since),
  unfit: serving.unfit ?? '',
  policy: BigInt(serving.policy),
  resources: BigInt(serving.resources),
  revocations: BigInt(serving.revocations),
  authorities: authorities.map(({ notAfter, ...each }) => ({ ...each, notAfter: unixSeconds(notAfter) })),
  warnings: [...warnings],
  settings: [...loaded.settings].map(([path, value]) => ({ path, value })),
  files: [...loaded.files].map(([path, sha256]) => ({ path, sha256 })),
});

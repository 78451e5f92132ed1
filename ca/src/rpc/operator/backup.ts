/** The operator's calls that go with commands on the files of the CA's machine, over gRPC. */
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { Operator } from '../../operator/operator.ts';
import { askerOf } from '../caller.ts';
import { unary } from '../methods.ts';

/** Each method names one verb of the operator, which checks who asks. */
export const backupMethods = (operator: Operator) =>
  [
    unary('CopyDatabase', OperatorService.copyDatabase, async (_, caller) => {
      await operator.copyDatabase(askerOf(caller))(undefined);
      return {};
    }),
    unary('AcceptLoss', OperatorService.acceptLoss, async (request, caller) => ({
      waited: await operator.acceptLoss(askerOf(caller))(request),
    })),
    unary('RewrapKeys', OperatorService.rewrapKeys, async (request, caller) => {
      await operator.rewrapKeys(askerOf(caller))(request);
      return {};
    }),
  ] as const;

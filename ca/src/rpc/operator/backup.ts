/** The operator's call that copies the database, over gRPC. */
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { Operator } from '../../operator/operator.ts';
import { askerOf } from '../caller.ts';
import { unary } from '../methods.ts';

/** The method names the verb of the operator, which checks who asks. */
export const backupMethods = (operator: Operator) =>
  [
    unary('CopyDatabase', OperatorService.copyDatabase, async (_, caller) => {
      await operator.copyDatabase(askerOf(caller))(undefined);
      return {};
    }),
  ] as const;

/** The operator's calls about an offline root, over gRPC. */
import type { AuthorityRequest } from '@chancery/proto/gen/chancery/v1/offline.ts';
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { OpenRequest } from '../../offline/open.ts';
import type { Operator } from '../../operator/operator.ts';
import { askerOf } from '../caller.ts';
import { unary } from '../methods.ts';

/** Each method names one verb of the operator, which checks who asks. */
export const offlineMethods = (operator: Operator) =>
  [
    unary('ListAuthorityRequests', OperatorService.listAuthorityRequests, async (_, caller) => ({
      requests: (await operator.authorityRequests(askerOf(caller))(undefined)).map(requestMessage),
    })),
    unary('AskForAuthority', OperatorService.askForAuthority, async (_, caller) => ({
      requests: (await operator.askForAuthority(askerOf(caller))(undefined)).map(requestMessage),
    })),
    unary('ImportAuthority', OperatorService.importAuthority, async (request, caller) => {
      const { notBefore, notAfter, ...imported } = await operator.importAuthority(askerOf(caller))(request);
      return { ...imported, notBefore: seconds(notBefore), notAfter: seconds(notAfter) };
    }),
  ] as const;

const requestMessage = ({ madeAt, until, ...open }: OpenRequest): AuthorityRequest => ({
  ...open,
  since: seconds(madeAt),
  until: until === undefined ? 0n : seconds(until),
});

const seconds = (time: Date): bigint => BigInt(Math.floor(time.getTime() / 1000));

/** The operator's calls about an offline root, over gRPC. */
import type { AuthorityRequest } from '@chancery/proto/gen/chancery/v1/offline.ts';
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { OpenRequest } from '../../ceremony/requests.ts';
import type { Operator } from '../../operator/operator.ts';
import { askerOf } from '../caller.ts';
import { unary } from '../methods.ts';

/** Each method names one verb of the operator, which checks who asks. */
export const offlineMethods = (operator: Operator) =>
  [
    unary('GetAuthorityRequest', OperatorService.getAuthorityRequest, async (_, caller) =>
      requestMessage(await operator.authorityRequest(askerOf(caller))(undefined)),
    ),
    unary('AskForAuthority', OperatorService.askForAuthority, async (_, caller) =>
      requestMessage(await operator.askForAuthority(askerOf(caller))(undefined)),
    ),
    unary('ImportAuthority', OperatorService.importAuthority, async (request, caller) => {
      const imported = await operator.importAuthority(askerOf(caller))(request);
      const { serial, notBefore, notAfter } = imported;
      return { serial, notBefore: seconds(notBefore), notAfter: seconds(notAfter) };
    }),
  ] as const;

const NONE: AuthorityRequest = { label: '', root: '', since: 0n, until: 0n, pem: '', file: '' };

const requestMessage = (open: OpenRequest | undefined): AuthorityRequest =>
  open === undefined
    ? NONE
    : {
        label: open.label,
        root: open.root,
        since: seconds(open.madeAt),
        until: open.until === undefined ? 0n : seconds(open.until),
        pem: open.pem,
        file: open.file,
      };

const seconds = (time: Date): bigint => BigInt(Math.floor(time.getTime() / 1000));

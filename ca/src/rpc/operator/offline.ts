/** The operator's calls about an offline root, over gRPC. */
import type {
  AuthorityRequest,
  ChainLink,
  ImportedAuthority,
} from '@chancery/proto/gen/chancery/v1/offline.ts';
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { unixSeconds } from '@chancery/shared/ground/clock.ts';
import type { Certificate } from '@chancery/shared/x509/certificate.ts';
import { nameTextOf } from '@chancery/shared/x509/name-text.ts';
import type { ImportedCross } from '../../cross/cross.ts';
import type { Imported } from '../../offline/intermediates.ts';
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
      return importedMessage(await operator.importAuthority(askerOf(caller))(request));
    }),
    unary('AskAbove', OperatorService.askAbove, async (request, caller) =>
      operator.askAbove(askerOf(caller))(request),
    ),
  ] as const;

function importedMessage(imported: Imported | ImportedCross): ImportedAuthority {
  const { kind, serial, notBefore, notAfter, signs } = imported;
  const about = { kind, serial, notBefore: unixSeconds(notBefore), notAfter: unixSeconds(notAfter), signs };
  if (imported.kind !== 'cross') return { ...about, chain: [], warnings: [] };
  return { ...about, chain: imported.chain.map(linkMessage), warnings: [...imported.warnings] };
}

const linkMessage = (each: Certificate): ChainLink => ({
  ...nameTextOf(each),
  serial: hex(each.serial),
  notBefore: unixSeconds(each.notBefore),
  notAfter: unixSeconds(each.notAfter),
});

const requestMessage = ({ madeAt, until, ...open }: OpenRequest): AuthorityRequest => ({
  ...open,
  since: unixSeconds(madeAt),
  until: until === undefined ? 0n : unixSeconds(until),
});

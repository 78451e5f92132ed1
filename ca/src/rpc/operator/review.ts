/** The operator's calls for reviews and for second people, over gRPC. */
import type { CountersignedUse, ReviewedResource } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { unixSeconds } from '@chancery/shared/ground/clock.ts';
import type { Operator } from '../../operator/operator.ts';
import type { Reviewed } from '../../operator/review.ts';
import { commandOf } from '../../operator/roles.ts';
import type { StoredRequest } from '../../store/operator-store.ts';
import { askerOf } from '../caller.ts';
import { unary } from '../methods.ts';

/** Each method names one verb of the operator, which checks who asks. */
export const reviewMethods = (operator: Operator) =>
  [
    unary('Review', OperatorService.review, async (request, caller) => ({
      resources: (await operator.review(askerOf(caller))(request)).map(reviewedMessage),
    })),
    unary('SignOff', OperatorService.signOff, async (request, caller) => {
      const { at, by } = await operator.signOff(askerOf(caller))(request);
      return { at: seconds(at), by };
    }),
    unary('ListRequests', OperatorService.listRequests, async (_, caller) => ({
      requests: (await operator.requests(askerOf(caller))(undefined)).map(requestMessage),
    })),
    unary('Countersign', OperatorService.countersign, async ({ number }, caller) => ({
      request: requestMessage(await operator.countersign(askerOf(caller))(Number(number))),
    })),
    unary('Withdraw', OperatorService.withdraw, async ({ number }, caller) => ({
      request: requestMessage(await operator.withdraw(askerOf(caller))(Number(number))),
    })),
  ] as const;

/** 0 for none. */
const seconds = (time: Date | undefined): bigint => (time === undefined ? 0n : unixSeconds(time));

const written = (text: string | undefined): bigint =>
  seconds(text === undefined ? undefined : new Date(text));

function reviewedMessage({ resource, signedOff, ...rest }: Reviewed): ReviewedResource {
  const { kind, name, owner = '', reviewBy, until } = resource;
  return {
    kind,
    name,
    owner,
    why: [...rest.why],
    digest: rest.digest,
    lastUse: seconds(rest.lastUse),
    useKnown: rest.isUseKnown,
    isNew: rest.isNew,
    ownerSeen: seconds(rest.ownerSeen),
    reviewBy: written(reviewBy),
    until: written(until),
    signedOffAt: seconds(signedOff?.at),
    signedOffBy: signedOff?.by ?? '',
    signedOffReason: signedOff?.reason ?? '',
  };
}

const requestMessage = (request: StoredRequest): CountersignedUse => ({
  number: BigInt(request.number),
  verb: commandOf(request.verb),
  about: request.about,
  digest: request.digest,
  by: request.by,
  at: seconds(request.at),
  until: seconds(request.until),
  countersignedBy: request.countersignedBy ?? '',
});

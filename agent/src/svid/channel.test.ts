import { REFUSALS } from '@chancery/shared/ground/errors.ts';
import * as grpc from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { isRefusedCertificate, refusalFromCa } from './channel.ts';

const { UNAUTHENTICATED, PERMISSION_DENIED, UNAVAILABLE } = grpc.status;
const expired = REFUSALS.expired_peer.says;

test.each([
  ['expired certificates and a reference', UNAUTHENTICATED, `${expired} (reference 1234)`, true],
  ['expired certificates, with another status', PERMISSION_DENIED, expired, false],
  ['expired certificates, while it is away', UNAVAILABLE, expired, false],
  ['something else', UNAUTHENTICATED, REFUSALS.no_peer.says, false],
])('a refusal that speaks of %s (status %i: %s) is one of the certificate: %s', (_, code, details, is) => {
  const error: grpc.ServiceError = Object.assign(new Error(details), {
    ...{ code, details, metadata: new grpc.Metadata() },
  });
  expect(isRefusedCertificate(refusalFromCa(error))).toBe(is);
});

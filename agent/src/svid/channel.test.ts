import { REFUSALS } from '@chancery/shared/ground/errors.ts';
import * as grpc from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { isRefusedCertificate, refusalFromCa } from './channel.ts';

const { UNAUTHENTICATED, PERMISSION_DENIED, UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED } = grpc.status;
const expired = REFUSALS.expired_peer.says;

const failure = (code: grpc.status, details: string): grpc.ServiceError =>
  Object.assign(new Error(details), { ...{ code, details, metadata: new grpc.Metadata() } });

test.each([
  [UNAVAILABLE, 'the store is not available (reference 1234)', 'the CA cannot do this now: '],
  [UNAVAILABLE, 'the store is not available', 'the CA cannot do this now: '],
  [DEADLINE_EXCEEDED, 'the time for this ran out', 'the CA cannot do this now: '],
  // The sentence belongs to another status, so the CA has not sent it.
  [UNAVAILABLE, 'the time for this ran out', 'the CA does not answer: '],
  [UNAVAILABLE, 'the store is not available here', 'the CA does not answer: '],
  [CANCELLED, 'Call cancelled', 'the CA does not answer: '],
])('status %i with "%s" means: %s', (code, details, says) => {
  const { code: refusal, message } = refusalFromCa(failure(code, details));
  expect([refusal, message]).toEqual(['unavailable', `${says}${details}`]);
});

test.each([
  'unable to get local issuer certificate',
  'unable to get issuer certificate',
  'unable to verify the first certificate',
  'self-signed certificate',
  'self-signed certificate in certificate chain',
])('a CA whose chain ends at no root of the bundle (%s): the error says what to bring', (details) => {
  const { code, message } = refusalFromCa(
    failure(UNAVAILABLE, `No connection established. Last error: ${details}`),
  );
  expect([code, message]).toEqual(['unavailable', expect.stringContaining(`(${details}); unless that ends`)]);
  expect(message).toMatch(/put what chancery-ca bundle prints .* remove its dataDir\/state\.json/);
});

test.each(['certificate is not yet valid', 'a certificate is not valid before 2026-11-30T19:13:54.000Z'])(
  'I332 a CA whose certificate begins later by this clock (%s): the error speaks of the clock',
  (details) => {
    const { message } = refusalFromCa(
      failure(UNAVAILABLE, `No connection established. Last error: ${details}`),
    );
    expect(message).toMatch(
      /^by this machine's clock, which may be behind, the CA's certificate is not valid yet \(/,
    );
    expect(message).toMatch(/\): unless that passes within a minute, set the clock$/);
  },
);

test.each([
  ['expired certificates and a reference', UNAUTHENTICATED, `${expired} (reference 1234)`, true],
  ['expired certificates, with another status', PERMISSION_DENIED, expired, false],
  ['expired certificates, while it is away', UNAVAILABLE, expired, false],
  ['something else', UNAUTHENTICATED, REFUSALS.no_peer.says, false],
])('a refusal that speaks of %s (status %i: %s) is one of the certificate: %s', (_, code, details, is) => {
  expect(isRefusedCertificate(refusalFromCa(failure(code, details)))).toBe(is);
});

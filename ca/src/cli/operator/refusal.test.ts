import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { refusalFrom } from './refusal.ts';

const refused = (code: status, details: string, isChange: boolean) => {
  const error: ServiceError = Object.assign(new Error(details), { code, details, metadata: new Metadata() });
  return refusalFrom(error, { socket: '/d/admin.sock', seconds: 30, isChange });
};
const LATE =
  'Deadline exceeded after 30.010s,name resolution: 0.005s,metadata filters: 0.000s,Waiting for LB pick';
const NOBODY =
  'No connection established. Last error: Error: connect ECONNREFUSED /d/admin.sock. Resolution note: ';
const AGAIN = 'See its log, then try again';
const LOOK = 'The change may have been made or still be made: look before you repeat it';

test.each<[string, status, string, boolean, string]>([
  [
    'no process listens',
    status.UNAVAILABLE,
    NOBODY,
    true,
    'no CA is serving at /d/admin.sock: run chancery-ca serve',
  ],
  [
    'another user asks',
    status.UNAVAILABLE,
    NOBODY.replace('ECONNREFUSED', 'EACCES'),
    true,
    'this user may not use /d/admin.sock: run it as root or as the user of the CA',
  ],
  [
    'a stopped CA is asked',
    status.DEADLINE_EXCEEDED,
    LATE,
    false,
    `the CA at /d/admin.sock has not answered in 30 s: it is stopped or busy. ${AGAIN}`,
  ],
  [
    'a stopped CA is asked for a change',
    status.DEADLINE_EXCEEDED,
    LATE,
    true,
    `the CA at /d/admin.sock has not answered in 30 s: it is stopped or busy. ${LOOK}`,
  ],
  [
    'the CA ends under a question',
    status.UNAVAILABLE,
    'Connection dropped',
    false,
    `the CA at /d/admin.sock ended before it answered. ${AGAIN}`,
  ],
  [
    'the CA ends under a change',
    status.UNAVAILABLE,
    'Connection dropped',
    true,
    `the CA at /d/admin.sock ended before it answered. ${LOOK}`,
  ],
  [
    'the CA cannot do it now',
    status.UNAVAILABLE,
    'the store is not available (reference abc)',
    true,
    'the CA at /d/admin.sock cannot do this now: the store is not available (reference abc)',
  ],
])('in plain words and with a next step: %s', (_, code, details, isChange, says) => {
  expect(refused(code, details, isChange)).toMatchObject({ code: 'unavailable', message: says });
});

test('a refusal of the CA is its own sentence', () => {
  expect(refused(status.INVALID_ARGUMENT, 'a.yaml:1: unknown key', true)).toMatchObject({
    code: 'internal',
    message: 'a.yaml:1: unknown key',
  });
});

import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { expect, test } from 'vitest';
import { alarm } from './alarm.ts';

const now = new Date('2026-06-01T00:00:00Z');
const clock = { now: () => now, sleepUntil: async () => {} };

test.each([
  [90, /serves until it expires/],
  [0, /has expired/],
  [-90, /has expired/],
])('with %d s left', (leftSeconds, says) => {
  const heard: [object, string][] = [];
  const log = { ...silentLog, error: (fields: object, message: string) => heard.push([fields, message]) };
  const error = new IdentityError('unavailable', 'the CA does not answer');
  const svid = { notAfter: new Date(now.getTime() + leftSeconds * 1000) };
  expect(alarm(error, 3, { svid, clock, log })).toBe('the CA does not answer');
  expect(heard).toEqual([[{ err: error, failures: 3, leftSeconds }, expect.stringMatching(says)]]);
});

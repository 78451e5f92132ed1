/** I12, I58: clocks that disagree. A certificate is good from ten seconds before it was issued, by everybody's own clock. */
import { randomBytes } from 'node:crypto';
import { unixEvidence } from '@chancery/agent/evidence/unix.ts';
import { unixTarget } from '@chancery/agent/svid/channel.ts';
import { join } from '@chancery/agent/svid/obtain.ts';
import { AttestationClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../kit/ca/ca.ts';
import { issueOne, joinAs } from '../../kit/ca/join.ts';
import { expectRefusal } from '../../kit/ca/talk.ts';
import { refusal } from '../../kit/refusal.ts';

const TTL_SECONDS = 60;
let ca: TestCa;
beforeAll(async () => {
  ca = await startTestCa({});
  // The CA's own certificate must be older than any of these steps back.
  ca.clock.move(7200);
  const x509 = { ttl: `${TTL_SECONDS}s` };
  await ca.apply({ kind: 'Identity', name: 'w', platform: 'unix', id: `spiffe://${TRUST_DOMAIN}/w`, x509 });
});
afterAll(() => ca.close());

/** Joins by an agent whose clock differs from the CA's. */
function joinWithClockAt(seconds: number) {
  const clock: Clock = {
    now: () => addSeconds(ca.clock.now(), seconds),
    sleepUntil: (time, signal) => ca.clock.sleepUntil(time, signal),
  };
  const { address, credentials, options } = unixTarget(ca.joinSocket);
  const client = new AttestationClient(address, credentials, options);
  const signal = AbortSignal.timeout(120_000);
  const request = { evidence: unixEvidence(), bundle: ca.bundle, id: undefined, instance: randomBytes(16) };
  return join(client, { ...request, clock, signal }).finally(() => client.close());
}

describe('I12 an agent whose clock is', () => {
  test.each([-8, 0, TTL_SECONDS - 5])('%i s off takes the certificate', async (seconds) => {
    expect((await joinWithClockAt(seconds)).id).toBe(`spiffe://${TRUST_DOMAIN}/w`);
  });

  test.each([-3600, -12, TTL_SECONDS + 1, 3600])('%i s off refuses it', async (seconds) => {
    await expect(joinWithClockAt(seconds)).rejects.toThrow(
      refusal('expired_peer', /expired|not yet valid|not valid/),
    );
  });
});

test.each([31, 45, 55])('I58 an agent whose clock is %i s ahead does not renew at once', async (ahead) => {
  const { renewAfter, notAfter } = await joinWithClockAt(ahead);
  const own = addSeconds(ca.clock.now(), ahead);
  const wait = (renewAfter.getTime() - own.getTime()) / 1000;
  const half = (TTL_SECONDS - ahead) / 2;
  // The exchange and the rounding of certificates' times take less than two seconds.
  expect(wait).toBeGreaterThan(half - 2);
  expect(wait).toBeLessThan(half + 1);
  expect(renewAfter < notAfter).toBe(true);
});

describe('I12 a CA whose clock goes back', () => {
  test('by less than the backdating still knows its certificates', async () => {
    const svid = await joinAs(ca);
    ca.clock.move(-8);
    await issueOne(ca, svid);
    ca.clock.move(8);
  });

  test.each([12, 3600])('by %i s refuses what is not valid yet', async (seconds) => {
    const svid = await joinAs(ca);
    ca.clock.move(-seconds);
    const failed = await issueOne(ca, svid).then(
      () => ({ code: 0, details: '' }),
      (error: { code: number; details: string }) => error,
    );
    ca.clock.move(seconds);
    await expectRefusal(ca, failed, 'expired_peer', /not yet valid|not valid/);
  });
});

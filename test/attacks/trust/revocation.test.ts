/** A certificate that was revoked before its end, at the CA: rows I8 and I10. */

import { randomBytes } from 'node:crypto';
import { TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../kit/ca/ca.ts';
import { helloMessage, issueOne, joinAs, openRenew } from '../../kit/ca/join.ts';
import { expectRefusal, talk } from '../../kit/ca/talk.ts';

const ID = parseSpiffeId(`spiffe://${TRUST_DOMAIN}/workload`);
const identity = { kind: 'Identity', name: 'workload', platform: 'unix', id: ID, x509: { ttl: '10m' } };
const detail = /^spiffe:\/\/test\.example\/workload: revocation 1 \(/;
let ca: TestCa;
beforeEach(async () => {
  ca = await startTestCa({ limits: { attestationsPerSecond: 1000, attestationBurst: 1000 } });
  await ca.apply(identity);
});
afterEach(() => ca.close());

const serialOf = ({ chain: [leaf] }: Svid): string =>
  leaf === undefined ? '' : hex(parseCertificate(leaf).serial);

function openWatch(svid: Svid) {
  const target = ca.target(svid);
  const client = new TrustClient(target.address, target.credentials, target.options);
  const watching = talk(client.watch());
  watching.send({ message: { $case: 'hello', value: { instance: randomBytes(16), version: 'test' } } });
  return { ...watching, close: () => client.close() };
}

/** How an operator may name the one workload of these tests. */
const ways: [string, (svid: Svid) => Promise<string>][] = [
  ['serial', async (svid) => serialOf(svid)],
  ['id', async () => ID],
  ['pattern', async () => `spiffe://${TRUST_DOMAIN}/**`],
  [
    'node',
    async (svid) => {
      const record = await ca.store.issuance(serialOf(svid));
      return `${record?.platform}/${record?.node}`;
    },
  ],
];

describe.each(ways)('revoked by %s', (kind, named) => {
  test('I8 renewal, and more certificates', async () => {
    const svid = await joinAs(ca);
    expect(await ca.revoke(kind, await named(svid))).toMatchObject({ certificates: 1n });
    const renewal = openRenew(ca, svid);
    renewal.send(await helloMessage());
    await expectRefusal(ca, await renewal.status(), 'revoked_peer', detail);
    renewal.close();
    const error = await issueOne(ca, svid).catch((refusal) => refusal);
    await expectRefusal(ca, error, 'revoked_peer', detail);
  });

  test('I8 renewal after the CA was restarted', async () => {
    const svid = await joinAs(ca);
    await ca.revoke(kind, await named(svid));
    ca = await ca.restarted();
    const renewal = openRenew(ca, svid);
    renewal.send(await helloMessage());
    await expectRefusal(ca, await renewal.status(), 'revoked_peer', detail);
    renewal.close();
  });

  test('I10 a long-lived stream is closed, and does not open again', async () => {
    const svid = await joinAs(ca);
    const watching = openWatch(svid);
    await watching.next();
    expect(await ca.revoke(kind, await named(svid))).toMatchObject({ agents: 1n });
    await expectRefusal(ca, await watching.status(), 'revoked_peer', detail);
    watching.close();
    const again = openWatch(svid);
    await expectRefusal(ca, await again.status(), 'revoked_peer', detail);
    again.close();
  });
});

describe('I8 a workload that was revoked', () => {
  test.each(ways.slice(1))('by %s joins no more', async (kind, named) => {
    const svid = await joinAs(ca);
    await ca.revoke(kind, await named(svid));
    await expect(joinAs(ca)).rejects.toThrow(/no identity is given/);
    const status = { code: 7, details: 'no identity is given for this evidence' };
    await expectRefusal(ca, status, 'revoked_identity', detail);
  });

  test('by the serial of a certificate that was stolen joins anew, and only the thief is out', async () => {
    const stolen = await joinAs(ca);
    await ca.revoke('serial', serialOf(stolen));
    const own = await joinAs(ca);
    expect(await issueOne(ca, own)).toMatchObject({ spiffeId: ID });
    const error = await issueOne(ca, stolen).catch((refusal) => refusal);
    await expectRefusal(ca, error, 'revoked_peer', detail);
  });

  test('by serial takes along what was asked for with that certificate, and what was asked for with that', async () => {
    const stolen = await joinAs(ca);
    const key = generateKey();
    const { chain } = await issueOne(ca, stolen, Buffer.from(await writeCsr(signerOf(key))));
    const second = { ...stolen, chain, key };
    const third = { ...second, key: generateKey() };
    const issued = await issueOne(ca, second, Buffer.from(await writeCsr(signerOf(third.key))));
    expect(await ca.revoke('serial', serialOf(stolen))).toMatchObject({ certificates: 3n });
    for (const thief of [second, { ...third, chain: issued.chain }]) {
      const error = await issueOne(ca, thief).catch((refusal) => refusal);
      await expectRefusal(ca, error, 'revoked_peer', detail);
    }
  });
});

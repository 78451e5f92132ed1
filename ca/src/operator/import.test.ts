/** What `authorities import` takes a file for: a chain of a CA above, or an answer of an offline root. */
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { beforeEach, expect, test, vi } from 'vitest';
import { chainFile, corporate, corporateRoot, crossOf } from '../../../test/kit/ca/above.ts';
import { makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { makeAuthority } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';

const asker = { address: 'pid 1 uid 0', local: { uid: 0, ensureStillThere: () => {} } };
const NONE: Uint8Array = new Uint8Array();

let rpc: Rpc;
beforeEach(async () => {
  vi.restoreAllMocks();
  rpc = await makeRpc();
});

/** The room of the answers of an offline root takes all that comes to it. */
const given = (answer: Uint8Array, rootAbove = NONE) =>
  rpc.operator.importAuthority(asker)({ answer, rootAbove, dryRun: true });
const own = () => crossOf(parseCertificate(rpc.root.certificate));

test('a cross-certificate that stands alone, or with those above it, is a chain for a root', async () => {
  const serial = rpc.root.serial;
  expect(await given(chainFile(own()))).toMatchObject({ kind: 'cross', serial });
  expect(await given(chainFile(own(), corporate.certificate))).toMatchObject({ kind: 'cross', serial });
});

test('more than one certificate is a chain, also where it is of no root of this CA', async () => {
  const says = refusal('authority_answer', /^the first certificate is of no root of this CA/);
  await expect(given(chainFile(corporate.certificate, corporateRoot.certificate))).rejects.toThrow(says);
});

test('a file that comes with the root above is a chain, whatever is in it', async () => {
  const above = chainFile(corporateRoot.certificate);
  const says = refusal('authority_answer', /^the first certificate is of no root of this CA/);
  await expect(given(chainFile(corporate.certificate), above)).rejects.toThrow(says);
  await expect(given(NONE, above)).rejects.toThrow(refusal('authority_answer', /no PEM block/));
});

test.each<[string, () => Uint8Array]>([
  ['a certificate of no root of this CA', () => chainFile(makeAuthority('Other', corporate).certificate)],
  ['a file that cannot be read', () => Buffer.from('x')],
])('%s is for the room of the offline root', async (_, file) => {
  expect(await given(file())).toMatchObject({ kind: 'intermediate', serial: 'ef' });
});

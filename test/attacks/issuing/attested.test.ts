/** Certificates that say of a workload what nobody attested: rows I335 and I336. */

import { issue } from '@chancery/ca/authority/issue.ts';
import { issueX509 } from '@chancery/ca/rpc/exchange/attestation.ts';
import { IdentityService, type IssueX509Response } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import * as der from '@chancery/shared/der/write.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import type { Attested } from '@chancery/shared/spiffe/attested.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { attestedExtension } from '@chancery/shared/x509/attested.ts';
import { verifyCsr, writeRequest } from '@chancery/shared/x509/csr.ts';
import { OID } from '@chancery/shared/x509/extensions.ts';
import { EMPTY_NAME } from '@chancery/shared/x509/names.ts';
import { verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { expect, test } from 'vitest';
import { callUnary, makeRpc, peerOf, stranger } from '../../kit/ca/rpc.ts';
import { extension, makeAuthority, makeLeaf, NOW } from '../../kit/certificates.ts';
import { refusal } from '../../kit/refusal.ts';

const ID = 'spiffe://prod.example/web';
const said: Attested = { platform: 'aws', attributes: new Map([['aws.account', '42']]) };

const root = makeAuthority('Root');
const bundle = {
  trustDomain: parseTrustDomain('prod.example'),
  authorities: [root.certificate.der],
  sequence: 1n,
};
const verified = (attested: Uint8Array) =>
  verifySvid([makeLeaf(ID, root, { extensions: { attested } }).certificate.der], bundle, NOW);

function listing(values: readonly Uint8Array[]): Uint8Array {
  const list = der.sequence(der.sequence(der.oid('2.5.4.13'), der.set(...values)));
  return extension(OID.subjectDirectoryAttributes, false, list);
}
/** In the order of DER. */
const saying = (...texts: readonly string[]): Uint8Array =>
  listing(texts.map(der.utf8String).toSorted(Buffer.compare));

test('I335 a certificate is refused that says a thing twice, at length, or what this release cannot read', () => {
  const [account, platform] = ['aws.account=42', 'platform=aws'];
  expect(verified(attestedExtension(said)).attested).toEqual(said);
  expect(verified(saying(account, platform)).attested).toEqual(said);
  for (const [spoiled, says] of [
    [saying(account, platform, 'aws.account=43'), /aws.account is there twice/],
    [saying(account, platform, 'narrowed=x'), /is not a name with a value/],
    [saying(platform, `aws.account=${'4'.repeat(257)}`), /is not a name with a value/],
    [saying(platform, 'aws.account=4\n2'), /is not a name with a value/],
    [listing([account, platform].map(der.utf8String)), /not in the order of DER/],
  ] as const)
    expect(() => verified(spoiled)).toThrow(refusal('svid', says));
});

test('I336 a request for a certificate chooses nothing that the certificate says', async () => {
  const rpc = await makeRpc();
  const extensions = [attestedExtension({ platform: 'tpm', attributes: new Map([['aws.account', '1']]) })];
  const wishing = () => writeRequest(signerOf(generateKey()), { subject: EMPTY_NAME, extensions });
  const saidBy = (chain: readonly Uint8Array[]) =>
    verifySvid(chain, rpc.authorities.bundle.current(), rpc.clock.now());

  const order = { id: parseSpiffeId(ID), platform: 'fake', node: 'n1', identity: 'web', dnsNames: [] };
  const key = verifyCsr(await wishing());
  const first = await issue({ ...order, key, ttlSeconds: 60, attributes: said.attributes }, rpc);
  const expected = { platform: 'fake', attributes: said.attributes };
  expect(saidBy(first.chain).attested).toEqual(expected);

  const caller = { ...stranger, shownCertificate: true, svid: () => saidBy(first.chain) };
  const csrs = [Buffer.from(await wishing())];
  const request = IdentityService.issueX509.requestSerialize({ csrs, succeeds: Buffer.alloc(0) });
  const { response } = await callUnary(issueX509(rpc)(rpc), peerOf(rpc, caller), request);
  const [derived] = (response as IssueX509Response).issued;
  expect(saidBy(derived?.chain ?? []).attested).toEqual(expected);
});

/** Certificates that say of a workload what nobody attested: rows I335 to I338. */

import { issue } from '@chancery/ca/authority/issue.ts';
import { issueX509, renew } from '@chancery/ca/rpc/exchange/attestation.ts';
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
import * as grpc from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { applied, callUnary, FakeCall, makeRpc, peerOf, stranger } from '../../kit/ca/rpc.ts';
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

/** A CA with a caller that it has certified, and how that caller asks for more. */
async function certifiedWorkload(scope?: string) {
  const rpc = await makeRpc();
  const order = { id: parseSpiffeId(ID), platform: 'fake', node: 'n1', identity: 'web', dnsNames: [], scope };
  const saidBy = (chain: readonly Uint8Array[]) =>
    verifySvid(chain, rpc.authorities.bundle.current(), rpc.clock.now());
  const extensions = [
    attestedExtension({ platform: 'tpm', scope: 'all', attributes: new Map([['aws.account', '1']]) }),
  ];
  const wishing = () => writeRequest(signerOf(generateKey()), { subject: EMPTY_NAME, extensions });
  const key = verifyCsr(await wishing());
  const { chain } = await issue({ ...order, key, ttlSeconds: 60, attributes: said.attributes }, rpc);
  const caller = { ...stranger, shownCertificate: true, svid: () => saidBy(chain) };
  const ask = async (asked: string) => {
    const csrs = [Buffer.from(await wishing())];
    const request = IdentityService.issueX509.requestSerialize({
      csrs,
      succeeds: Buffer.alloc(0),
      scope: asked,
    });
    const { response, error } = await callUnary(issueX509(rpc)(rpc), peerOf(rpc, caller), request);
    const [derived] = (response as IssueX509Response | undefined)?.issued ?? [];
    return { attested: derived && saidBy(derived.chain).attested, error };
  };
  return { rpc, caller, attested: saidBy(chain).attested, ask };
}

const rule = (name: string, more: object) => ({
  ...{ kind: 'Access', name, who: ['spiffe://prod.example/*'], servers: ['x'], tools: { allow: ['*'] } },
  ...more,
});
const server = { kind: 'McpServer', name: 'x', identity: 'spiffe://prod.example/x', address: 'x:1' };

test('I336 a request for a certificate chooses nothing that the certificate says', async () => {
  const { attested, ask } = await certifiedWorkload();
  const expected = { platform: 'fake', scope: undefined, attributes: said.attributes };
  expect(attested).toEqual(expected);
  expect((await ask('')).attested).toEqual(expected);
});

test('I337 a scope is given where a rule in force about the caller names it; else its scopes are named', async () => {
  const { rpc, ask } = await certifiedWorkload();
  const ended = { scopes: ['old'], until: '2020-01-01T00:00:00Z' };
  const others = { scopes: ['others'], who: ['spiffe://prod.example/a/*'] };
  const rules = [rule('r', { scopes: ['read', 'list'] }), rule('e', ended), rule('o', others)];
  await applied(rpc, server, ...rules);
  expect((await ask('read')).attested).toMatchObject({ scope: 'read', attributes: said.attributes });
  for (const asked of ['old', 'others', 'all', 'Read', 'x'.repeat(5_000)]) {
    const { attested, error } = await ask(asked);
    expect(attested).toBeUndefined();
    expect(error?.code).toBe(grpc.status.INVALID_ARGUMENT);
    expect(error?.details).toBe(
      `no rule in force about ${ID} has the scope ${asked.slice(0, 64)}; its scopes: list, read`,
    );
  }
  await applied(rpc, server, rule('r', {}));
  expect((await ask('read')).error?.details).toMatch(/has the scope read; its scopes: none$/);
});

test('I338 a certificate with a scope gives none without it, and is not renewed', async () => {
  const { rpc, caller, ask } = await certifiedWorkload('read');
  await applied(rpc, server, rule('r', { scopes: ['read', 'list'] }));
  expect((await ask('')).attested).toMatchObject({ scope: 'read' });
  expect((await ask('read')).attested).toMatchObject({ scope: 'read' });
  const { attested, error } = await ask('list');
  expect(attested).toBeUndefined();
  expect(error?.code).toBe(grpc.status.PERMISSION_DENIED);
  const call = new FakeCall(IdentityService.renew, peerOf(rpc, caller));
  call.run(renew(rpc)(rpc));
  expect((await call.failed).code).toBe(grpc.status.PERMISSION_DENIED);
  await applied(rpc, server, rule('r', { scopes: ['list'] }));
  expect((await ask('')).error?.code).toBe(grpc.status.INVALID_ARGUMENT);
});

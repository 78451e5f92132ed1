/**
 * OpenSSL judges the stand-in's attested documents, and we read what OpenSSL signs; Microsoft's own client judges the
 * metadata service. The rules that the stand-ins keep are in docs/attestors/stand-ins.md.
 */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ManagedIdentityCredential } from '@azure/identity';
import { readSignedData } from '@chancery/ca/attestors/azure/cms.ts';
import { readDocument } from '@chancery/ca/attestors/azure/document.ts';
import { verifyContent } from '@chancery/ca/attestors/azure/signer.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { attributesFor, signedData, signerInfo } from '../kit/azure/cms.ts';
import { type Entra, startEntra } from '../kit/azure/entra.ts';
import { documentOf, type Imds, startAzureImds, type Vm } from '../kit/azure/imds.ts';
import { type DocumentSigners, makeDocumentSigners } from '../kit/azure/signers.ts';
import { AUDIENCE, makeVm, TENANT } from '../kit/azure/world.ts';
import { MovableClock } from '../kit/clock.ts';
import { makeFolder, removeFolder } from '../kit/processes.ts';
import { refusal } from '../kit/refusal.ts';

const run = promisify(execFile);
const clock = new MovableClock();
const now = () => clock.now();
let dir: string;
let signers: DocumentSigners;
let vm: Vm;
let entra: Entra;
let imds: Imds;
beforeAll(async () => {
  dir = makeFolder();
  signers = makeDocumentSigners(now());
  vm = makeVm('billing-0');
  entra = await startEntra(now);
  imds = await startAzureImds({ vm, entra, signers, now, applications: [AUDIENCE] });
  const { leaf } = signers;
  file('issuing.pem', signers.issuingPem);
  file('authorities.pem', signers.rootPem + signers.issuingPem);
  file('leaf.pem', writePem('CERTIFICATE', leaf.certificate.der));
  file('leaf.key', leaf.key.export({ type: 'pkcs8', format: 'pem' }));
});
afterAll(async () => {
  await imds.close();
  await entra.close();
  removeFolder(dir);
});

function file(name: string, content: string | Uint8Array): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  return path;
}
const at = (name: string): string => join(dir, name);
const trust = () => ({
  anchors: [signers.root.certificate],
  intermediates: [signers.issuing.certificate],
  host: 'metadata.azure.com',
});
const read = (der: Uint8Array) => Buffer.from(verifyContent(readSignedData(der), trust(), now())).toString();

/** The content, by OpenSSL's whole verification: signature and path. Throws what it says. */
async function opensslVerify(der: Uint8Array, command = 'cms'): Promise<string> {
  const { stdout } = await run('openssl', [
    ...[command, '-verify', '-binary', '-inform', 'DER', '-in', file('document.der', der)],
    ...['-CAfile', at('authorities.pem'), '-purpose', 'any'],
  ]);
  return stdout;
}

describe('OpenSSL reads what the stand-in signs', () => {
  const content = Buffer.from('{"nonce":"1234567890"}');
  const withLeaf = (signer: Uint8Array) =>
    signedData({ content, certificates: [signers.leaf.certificate.der], signers: [signer] });

  test('in Azure’s shape: no signed attributes, and the signature’s algorithm in the digest’s place', async () => {
    const document = documentOf({ vm, signers, now }, { nonce: '1234567890' });
    // Microsoft's own guide has `openssl smime -verify` for it.
    expect(JSON.parse(await opensslVerify(document, 'smime'))).toMatchObject({ vmId: vm.vmId });
    expect(JSON.parse(await opensslVerify(document, 'cms'))).toMatchObject({ nonce: '1234567890' });
  });

  test.each([
    ['without signed attributes', () => ({})],
    ['with signed attributes', () => ({ attributes: attributesFor(content) })],
  ])('%s', async (_, changes) => {
    const document = withLeaf(
      signerInfo({ content, ...signers.leaf, digestOid: '2.16.840.1.101.3.4.2.1', ...changes() }),
    );
    expect(await opensslVerify(document)).toBe(content.toString());
    expect(read(document)).toBe(content.toString());
  });

  test('and refuses it with one byte of the content changed, as we do', async () => {
    const document = withLeaf(signerInfo({ content, ...signers.leaf, digestOid: '2.16.840.1.101.3.4.2.1' }));
    const bent = Buffer.from(document);
    bent.write('9', bent.indexOf('1234567890'));
    await expect(opensslVerify(bent)).rejects.toThrow(/verif/i);
    expect(() => read(bent)).toThrow(refusal('sig_invalid', /does not verify/));
  });
});

describe('we read what OpenSSL signs', () => {
  const content = '{"said":"by openssl"}';
  const sign = async (...more: readonly string[]): Promise<Uint8Array> => {
    const { stdout } = await run(
      'openssl',
      [
        ...['cms', '-sign', '-binary', '-outform', 'DER', '-in', file('content', content)],
        ...['-signer', at('leaf.pem'), '-inkey', at('leaf.key'), ...more],
      ],
      { encoding: 'buffer' },
    );
    return stdout;
  };

  test.each([
    ['with signed attributes', []],
    ['without signed attributes', ['-noattr']],
    ['with SHA-384', ['-md', 'sha384']],
    ['with SHA-512 and the path along', ['-md', 'sha512', '-certfile', 'issuing.pem']],
  ])('%s', async (_, more) => {
    const args = more.map((each) => (each.endsWith('.pem') ? at(each) : each));
    expect(read(await sign('-nodetach', ...args))).toBe(content);
  });

  test.each([
    ['SHA-1', ['-nodetach', '-md', 'sha1'], 'sig_alg', /1\.3\.14\.3\.2\.26 is not SHA-256/],
    ['RSA-PSS', ['-nodetach', '-keyopt', 'rsa_padding_mode:pss'], 'sig_alg', /1\.2\.840\.113549\.1\.1\.10/],
    ['a key identifier', ['-nodetach', '-keyid'], 'evidence_parse', /version 3/],
    ['no certificate', ['-nodetach', '-nocerts'], 'signer', /is not in the document/],
    ['a detached signature', [], 'evidence_parse', /content is missing/],
  ] as const)('and refuse %s', async (_, more, code, says) => {
    const document = await sign(...more);
    expect(() => read(document)).toThrow(refusal(code, says));
  });
});

describe('the metadata service', () => {
  const get = async (path: string, init: RequestInit = { headers: { Metadata: 'true' } }) => {
    clock.move(2);
    const reply = await fetch(`${imds.url}/metadata/${path}`, init);
    return { status: reply.status, body: JSON.parse(await reply.text()) };
  };
  const token = `identity/oauth2/token?api-version=2018-02-01&resource=${encodeURIComponent(AUDIENCE)}`;
  const document = 'attested/document?api-version=2021-02-01';

  test.each([
    ['no header', token, {}, 400, /Required metadata header/],
    ['a header that says no', token, { headers: { Metadata: 'false' } }, 400, /Required metadata header/],
    [
      'a proxy on the way',
      token,
      { headers: { Metadata: 'true', 'X-Forwarded-For': '10.0.0.1' } },
      400,
      /X-Forwarded-For/,
    ],
    ['no version', 'attested/document', undefined, 400, /api-version/],
    ['another method', token, { method: 'POST', headers: { Metadata: 'true' } }, 405, /not allowed/],
    ['no resource', 'identity/oauth2/token?api-version=2018-02-01', undefined, 400, /resource/],
    ['an unknown application', `${token}-other`, undefined, 400, /AADSTS500011/],
    ['an identity that the VM has not', `${token}&client_id=x`, undefined, 400, /Identity not found/],
    ['a nonce of letters', `${document}&nonce=abcdefghij`, undefined, 400, /nonce/],
    ['a nonce of nine digits', `${document}&nonce=123456789`, undefined, 400, /nonce/],
    ['a path that is none', 'nothing?api-version=2021-02-01', undefined, 404, /Not found/],
  ])('refuses %s', async (_, path, init, status, says) => {
    const reply = await get(path, init);
    expect(reply.status).toBe(status);
    expect(JSON.stringify(reply.body)).toMatch(says);
  });

  test('gives the same token again, and a document for the nonce, or for the time', async () => {
    const [first, again] = [await get(token), await get(token)];
    expect(first.body).toMatchObject({ token_type: 'Bearer', resource: AUDIENCE });
    expect(again.body.access_token).toBe(first.body.access_token);
    const { body } = await get(`${document}&nonce=0123456789`);
    expect(readDocument(Buffer.from(read(Buffer.from(body.signature, 'base64'))))).toMatchObject({
      nonce: '0123456789',
      vmId: vm.vmId,
      subscription: vm.subscription,
    });
    const untold = (await get(document)).body.signature;
    expect(readDocument(Buffer.from(read(Buffer.from(untold, 'base64')))).nonce).toMatch(/^\d{8}-\d{6}$/);
  });

  test('answers five questions a second', async () => {
    clock.move(2);
    const statuses = await Promise.all(
      Array.from({ length: 6 }, () =>
        fetch(`${imds.url}/metadata/${document}`, { headers: { Metadata: 'true' } }).then(
          ({ status }) => status,
        ),
      ),
    );
    expect(statuses.toSorted()).toEqual([200, 200, 200, 200, 200, 429]);
  });
});

describe('Microsoft’s own client, as it comes', () => {
  const credentialFor = (clientId?: string) => {
    process.env['AZURE_POD_IDENTITY_AUTHORITY_HOST'] = imds.url;
    const options = { retryOptions: { maxRetries: 0 } };
    return new ManagedIdentityCredential(clientId === undefined ? options : { ...options, clientId });
  };
  afterEach(() => {
    delete process.env['AZURE_POD_IDENTITY_AUTHORITY_HOST'];
  });

  test('gets the token of the VM’s identity, which jose verifies by the tenant’s keys', async () => {
    const [identity] = vm.identities;
    const { token, expiresOnTimestamp } = await credentialFor().getToken(`${AUDIENCE}/.default`);
    expect(expiresOnTimestamp - Date.now()).toBeGreaterThan(86_000_000);
    const keys = createRemoteJWKSet(new URL(await keysOf(TENANT)));
    const rules = { issuer: `https://sts.windows.net/${TENANT}/`, audience: AUDIENCE };
    expect((await jwtVerify(token, keys, rules)).payload).toMatchObject({
      oid: identity?.principalId,
      xms_mirid: identity?.resource,
    });
  });

  /** By the tenant's discovery document, whose addresses are Microsoft's. */
  const keysOf = async (tenant: string): Promise<string> => {
    const reply = await fetch(`${entra.served.url}/${tenant}/.well-known/openid-configuration`);
    const { jwks_uri: uri } = JSON.parse(await reply.text());
    return uri.replace('https://login.microsoftonline.com', entra.served.url);
  };

  test('gets it by the identity’s client ID too', async () => {
    const [identity] = vm.identities;
    const { token } = await credentialFor(identity?.clientId).getToken(AUDIENCE);
    expect(token).toMatch(/^eyJ/);
  });

  test('is told what is wrong', async () => {
    const unknown = credentialFor('00000000-0000-0000-0000-00000000000a').getToken(AUDIENCE);
    await expect(unknown).rejects.toThrow(/Message invalid_request: .*Identity not found/);
    const other = credentialFor().getToken('https://other.example/.default');
    await expect(other).rejects.toThrow(/Message invalid_resource: .*AADSTS500011/);
    imds.spoil(() => ({ status: 500 }));
    await expect(credentialFor().getToken('https://a.example/.default')).rejects.toThrow(
      /Message server_error: /,
    );
    imds.spoil(undefined);
  });
});

/** What people carry to an offline root and back: each file is genuine except in one thing. */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCarried, rootIn, signerIn } from '@chancery/ca/ceremony/folder.ts';
import { readAuthorityRequest, writeAuthorityRequest } from '@chancery/ca/ceremony/request.ts';
import { readRoot, writeCertificate } from '@chancery/ca/ceremony/root.ts';
import { planSigning } from '@chancery/ca/ceremony/sign.ts';
import { readPem, writePem } from '@chancery/shared/der/pem.ts';
import { hex, utf8 } from '@chancery/shared/ground/bytes.ts';
import { generateKey, type Signer, signerOf } from '@chancery/shared/keys/key.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { commonName } from '@chancery/shared/x509/compose/tbs.ts';
import { writeRequest } from '@chancery/shared/x509/csr.ts';
import * as extension from '@chancery/shared/x509/extensions.ts';
import { afterAll, describe, expect, test } from 'vitest';
import { offlineRoot } from '../../kit/ca/ceremony.ts';
import { makeFolder, removeFolder } from '../../kit/processes.ts';
import { refusal } from '../../kit/refusal.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));

const trustDomain = parseTrustDomain('prod.example');
const wish = { kind: 'intermediate', trustDomain, label: 'ab'.repeat(20) } as const;
const requestOf = (signer: Signer) => writeAuthorityRequest(signer, wish);
const { keyCertSign, crlSign, digitalSignature } = extension.KEY_USAGE;

/** A request whose extensions are as given, in place of those of an intermediate. */
async function asking(changes: {
  readonly constraints?: Uint8Array;
  readonly usage?: Uint8Array;
  readonly names?: Uint8Array;
  readonly more?: Uint8Array;
}): Promise<string> {
  const { constraints = extension.basicConstraints({ pathLength: 0 }), more } = changes;
  const { usage = extension.keyUsage(keyCertSign, crlSign) } = changes;
  const { names = extension.subjectAltName({ uris: ['spiffe://prod.example'], critical: false }) } = changes;
  const extensions = [constraints, usage, names, ...(more === undefined ? [] : [more])];
  const subject = commonName('Chancery intermediate request ab');
  return writePem(
    'CERTIFICATE REQUEST',
    await writeRequest(signerOf(generateKey()), { subject, extensions }),
  );
}

const read = (text: string) => () => readAuthorityRequest(utf8(text), 'intermediate');

describe('I160 a file that is more or less than one request', () => {
  const good = requestOf(signerOf(generateKey()));
  test.each([
    ['trailing bytes', (pem: string) => `${pem}x`, /more than PEM blocks/],
    ['text before it', (pem: string) => `Certificate Request:\n${pem}`, /more than PEM blocks/],
    ['two requests', (pem: string) => pem + pem, /2 PEM blocks, at most 1/],
    ['no request', () => '', /no PEM block/],
    ['a request of 64 KB', (pem: string) => pem + '\n'.repeat(64 * 1024), /at most 65536/],
    ['a cut request', (pem: string) => pem.replace('-----END', '-----ENDED'), /damaged/],
  ])('%s', async (_, spoil, says) => {
    expect(read(await good)).not.toThrow();
    expect(read(spoil(await good))).toThrow(refusal('authority_request', says));
  });

  test('a certificate, such as that of another root', async () => {
    const { root } = await offlineRoot(folder, trustDomain);
    const says = refusal('authority_request', /is "CERTIFICATE", not CERTIFICATE REQUEST/);
    expect(read(writeCertificate(root.certificate.der))).toThrow(says);
  });

  test('trailing bytes inside of the block', async () => {
    const [der = new Uint8Array()] = readPem(await good, 'CERTIFICATE REQUEST', 'internal');
    const longer = writePem('CERTIFICATE REQUEST', Buffer.concat([der, Buffer.of(0)]));
    expect(read(longer)).toThrow(refusal('csr_parse', /./));
  });

  test('a folder or a pipe in its place', () => {
    mkdirSync(join(folder, 'request'));
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    for (const name of ['request', 'pipe'])
      expect(() => readCarried(join(folder, name))).toThrow(refusal('file', /./));
  });
});

describe('I161 a request for something else than an intermediate of this trust domain', () => {
  const uris = (...names: string[]) => extension.subjectAltName({ uris: names, critical: false });
  test.each([
    ['a root', { constraints: extension.basicConstraints({ pathLength: 1 }) }, /with path length 1/],
    ['no limit', { constraints: extension.basicConstraints({ pathLength: undefined }) }, /without a path/],
    ['a leaf', { constraints: extension.basicConstraints() }, /CA:TRUE/],
    ['a usage more', { usage: extension.keyUsage(digitalSignature, keyCertSign, crlSign) }, /key usage/],
    ['a usage less', { usage: extension.keyUsage(keyCertSign) }, /key usage/],
    ['two trust domains', { names: uris('spiffe://prod.example', 'spiffe://b.example') }, /one trust domain/],
    ['a workload', { names: uris('spiffe://prod.example/web') }, /by its SPIFFE ID/],
    ['another scheme', { names: uris('https://prod.example') }, /by its SPIFFE ID/],
    ['a purpose', { more: extension.extKeyUsage(extension.EKU.serverAuth) }, /2\.5\.29\.37/],
  ])('%s', async (_, changes, says) => {
    expect(read(await asking({}))).not.toThrow();
    expect(read(await asking(changes))).toThrow(refusal('authority_request', says));
  });

  test('an intermediate of another trust domain', async () => {
    const { sign } = await offlineRoot(folder, trustDomain);
    const other = { ...wish, trustDomain: parseTrustDomain('test.example') };
    const request = await writeAuthorityRequest(signerOf(generateKey()), other);
    await expect(sign(request)).rejects.toThrow(refusal('authority_request', /test\.example/));
  });
});

describe('I162 a request for a key that must not be certified', () => {
  test('that of the root itself', async () => {
    const { sign, signer } = await offlineRoot(folder, trustDomain);
    const says = refusal('authority_request', /the root itself/);
    await expect(sign(await requestOf(signer))).rejects.toThrow(says);
  });

  test('one whose holder has not signed', async () => {
    const [mine, theirs] = [signerOf(generateKey()), signerOf(generateKey())];
    const bent = await requestOf({ ...theirs, sign: (data) => mine.sign(data) });
    expect(read(bent)).toThrow(refusal('csr_pop', /./));
  });

  test('RSA, from openssl', () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const key = join(folder, 'rsa.pem');
    writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const pem = execFileSync('openssl', ['req', '-new', '-key', key, '-subj', '/CN=x'], { encoding: 'utf8' });
    expect(read(pem)).toThrow(refusal('csr_key', /./));
  });
});

test('I163 a request that was signed before is not signed again, and its answer is kept', async () => {
  const { sign, dir } = await offlineRoot(folder, trustDomain);
  const request = await requestOf(signerOf(generateKey()));
  const answer = await sign(request);
  await expect(sign(request)).rejects.toThrow(refusal('authority_request', /signed before/));
  const [kept = '', ...more] = readdirSync(join(dir, 'issued'));
  expect(more).toEqual([]);
  expect(readFileSync(join(dir, 'issued', kept), 'utf8')).toBe(answer);
});

describe('I301 an offline root signs nothing', () => {
  test('where others may write in its folder', async () => {
    const { dir } = await offlineRoot(folder, trustDomain, 'ecdsa-p256');
    for (const mode of [0o720, 0o702, 0o777]) {
      chmodSync(dir, mode);
      expect(() => rootIn(dir)).toThrow(refusal('file_mode', /./));
    }
    chmodSync(dir, 0o700);
    expect(rootIn(dir)).toMatchObject({ algorithm: 'ecdsa-p256' });
  });

  test('before it is valid, and from its end on', async () => {
    const { order, root, sign } = await offlineRoot(folder, trustDomain, 'ecdsa-p256');
    const { notBefore, notAfter } = root.certificate;
    const request = await requestOf(signerOf(generateKey()));
    const says = refusal('authority_unfit', /^the root is valid from /);
    for (const now of [new Date(notBefore.getTime() - 1), notAfter])
      expect(() => planSigning({ ...order, request: utf8(request), now })).toThrow(says);
    expect(await sign(request, { now: new Date(notAfter.getTime() - 1000) })).toContain('CERTIFICATE');
  });
});

describe('I76 the file of a root', () => {
  test('is that of the folder', async () => {
    const { root, dir } = await offlineRoot(folder, trustDomain, 'ecdsa-p256');
    expect(rootIn(dir)).toEqual(root);
    expect(root).toMatchObject({ trustDomain, algorithm: 'ecdsa-p256' });
  });

  test('an intermediate, a bent signature or two roots in its place', async () => {
    const { root, sign } = await offlineRoot(folder, trustDomain);
    const answer = await sign(await requestOf(signerOf(generateKey())));
    expect(() => readRoot(utf8(answer))).toThrow(refusal('authority_answer', /another authority/));
    const { der } = root.certificate;
    const bent = Uint8Array.from(der).fill((der.at(-1) ?? 0) ^ 1, der.length - 1);
    expect(hex(parseCertificate(bent).spki)).toBe(hex(root.certificate.spki));
    const says = refusal('authority_answer', /not signed by its own key/);
    expect(() => readRoot(utf8(writeCertificate(bent)))).toThrow(says);
    const twice = writeCertificate(der).repeat(2);
    expect(() => readRoot(utf8(twice))).toThrow(refusal('authority_answer', /./));
  });

  test('beside a key that is another one', async () => {
    const [one, other] = [await offlineRoot(folder, trustDomain), await offlineRoot(folder, trustDomain)];
    const mixed = () => signerIn(one, other.root);
    expect(mixed).toThrow(refusal('key_wrong', /./));
  });
});

/** What comes back from an offline root: each file is genuine except in one thing. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { authorityFields } from '@chancery/ca/authority/profile.ts';
import { writeAuthorityRequest } from '@chancery/ca/ceremony/request.ts';
import { writeCertificate } from '@chancery/ca/ceremony/root.ts';
import { readAnswer } from '@chancery/ca/offline/answer.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { generateKey, type Signer, signerOf } from '@chancery/shared/keys/key.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { assembleCertificate, writeTbs } from '@chancery/shared/x509/compose/tbs.ts';
import * as extension from '@chancery/shared/x509/extensions.ts';
import { afterAll, describe, expect, test } from 'vitest';
import { offlineRoot } from '../../kit/ca/ceremony.ts';
import { NOW } from '../../kit/certificates.ts';
import { makeFolder, removeFolder } from '../../kit/processes.ts';
import { refusal } from '../../kit/refusal.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));

const trustDomain = parseTrustDomain('prod.example');
const DAY = 86_400;
const wish = { kind: 'intermediate', trustDomain, label: 'ab'.repeat(20) } as const;
const requestOf = (signer: Signer) => writeAuthorityRequest(signer, wish);
const { keyCertSign, crlSign, digitalSignature } = extension.KEY_USAGE;

/** An answer, and what the CA that asked for it knows. */
async function answered() {
  const ceremony = await offlineRoot(folder, trustDomain);
  const key = signerOf(generateKey());
  const answer = await ceremony.sign(await requestOf(key));
  const { certificate: root } = ceremony.root;
  const asked = { root, trustDomain, spki: key.spki, known: new Set<string>(), now: addSeconds(NOW, 3600) };
  return { ...ceremony, key, answer, asked };
}

describe('an answer', () => {
  test('is taken once, by openssl’s verdict as well', async () => {
    const { answer, asked, dir } = await answered();
    expect(readAnswer(utf8(answer), asked).spki).toEqual(asked.spki);
    writeFileSync(join(dir, 'answer.pem'), answer);
    const args = ['verify', '-x509_strict', '-attime', String(NOW.getTime() / 1000)];
    const out = execFileSync('openssl', [...args, '-CAfile', join(dir, 'root.pem'), join(dir, 'answer.pem')]);
    expect(String(out)).toMatch(/OK/);
  });

  test('I164 a second time', async () => {
    const { answer, asked } = await answered();
    const known = new Set([Buffer.from(readAnswer(utf8(answer), asked).serial).toString('hex')]);
    const found = () => readAnswer(utf8(answer), { ...asked, known });
    expect(found).toThrow(refusal('authority_answer', /imported before/));
  });

  test('I165 to another request, or to none', async () => {
    const { answer, asked } = await answered();
    const other = () => readAnswer(utf8(answer), { ...asked, spki: signerOf(generateKey()).spki });
    expect(other).toThrow(refusal('authority_answer', /another request/));
    const none = () => readAnswer(utf8(answer), { ...asked, spki: undefined });
    expect(none).toThrow(refusal('authority_answer', /no request is open/));
  });

  test('I166 of another root, also of one with the same name', async () => {
    const { answer, asked } = await answered();
    const { root } = await offlineRoot(folder, trustDomain);
    const other = () => readAnswer(utf8(answer), { ...asked, root: root.certificate });
    expect(other).toThrow(refusal('authority_answer', /another root/));
    const namesake = { ...root.certificate, subject: asked.root.subject };
    const same = () => readAnswer(utf8(answer), { ...asked, root: namesake });
    expect(same).toThrow(refusal('authority_answer', /signature/));
  });

  test('I167 that has expired, or is not valid yet', async () => {
    const { answer, asked } = await answered();
    for (const seconds of [-2 * 3600, 91 * DAY]) {
      const found = () => readAnswer(utf8(answer), { ...asked, now: addSeconds(NOW, seconds) });
      expect(found).toThrow(refusal('authority_answer', /is valid from/));
    }
  });

  test('I160 with trailing bytes, or two of them', async () => {
    const { answer, asked } = await answered();
    for (const text of [`${answer}x`, answer + answer])
      expect(() => readAnswer(utf8(text), asked)).toThrow(refusal('authority_answer', /./));
  });

  type Fields = ReturnType<typeof authorityFields>;
  test.each<readonly [string, (fields: Fields) => Fields, RegExp]>([
    [
      'a path length',
      (f) => ({ ...f, extensions: swap(f, 0, extension.basicConstraints({ pathLength: 1 })) }),
      /path length/,
    ],
    [
      'a usage more',
      (f) => ({ ...f, extensions: swap(f, 1, extension.keyUsage(digitalSignature, keyCertSign, crlSign)) }),
      /key usage/,
    ],
    [
      'another trust domain',
      (f) => ({
        ...f,
        extensions: swap(f, 4, extension.subjectAltName({ uris: ['spiffe://b.example'], critical: false })),
      }),
      /another name/,
    ],
    [
      'no issuer’s key',
      (f) => ({ ...f, extensions: f.extensions.filter((_, n) => n !== 3) }),
      /authority key identifier/,
    ],
    ['a longer life than its root', (f) => ({ ...f, notAfter: addSeconds(NOW, 4000 * DAY) }), /ends after/],
    ['the name of its root', (f) => ({ ...f, subject: f.issuer }), /issuer’s name/],
  ])('I168 signed by the root, with %s', async (_, spoil, says) => {
    const { asked, root, signer, key } = await answered();
    const keyId = extension.keyIdentifierOf(key.spki, 'internal');
    const issuer = {
      subject: root.certificate.subject,
      keyId: extension.keyIdentifierOf(signer.spki, 'internal'),
    };
    const subject = {
      kind: 'intermediate',
      trustDomain,
      spki: key.spki,
      keyId,
      signer: issuer,
      crlUrl: undefined,
    } as const;
    const validity = { notBefore: NOW, notAfter: addSeconds(NOW, DAY) };
    const fields = authorityFields(subject, randomBytes(20).fill(0x41, 0, 1), validity);
    const made = async (each: Fields) => {
      const tbs = writeTbs(each, signer.algorithm);
      return utf8(writeCertificate(assembleCertificate(tbs, signer.algorithm, await signer.sign(tbs))));
    };
    const good = await made(fields);
    expect(() => readAnswer(good, asked)).not.toThrow();
    const bad = await made(spoil(fields));
    expect(() => readAnswer(bad, asked)).toThrow(refusal('authority_answer', says));
  });
});

const swap = ({ extensions }: { readonly extensions: readonly Uint8Array[] }, at: number, by: Uint8Array) =>
  extensions.map((each, n) => (n === at ? by : each));

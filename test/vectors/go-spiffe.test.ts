/** go-spiffe's own vectors: SVIDs and bundles, named by verdict. */
import fs from 'node:fs';
import { join } from 'node:path';
import { readPem } from '@chancery/shared/der/pem.ts';
import { readBundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { ensureAnchor } from '@chancery/shared/x509/compose/profile.ts';
import { readSvid, verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { expect, test } from 'vitest';
import { vectorsOrSkip } from './vectors.ts';

const SOURCE = { folder: 'go-spiffe', from: 'https://github.com/spiffe/go-spiffe at commit e9973f63' };
const SVIDS = 'svid/x509svid/testdata';
const BUNDLES = 'bundle/spiffebundle/testdata';
const trustDomain = parseTrustDomain('example.org');
const ID = 'spiffe://example.org/workload-1';
/** Inside the validity of the good chain. */
const THEN = new Date('2020-03-24T14:30:00Z');

type Judge = (chain: readonly Uint8Array[]) => unknown;
const leaf: Judge = ([first]) => readSvid(parseCertificate(first ?? new Uint8Array()));
const intermediate: Judge = ([, second]) => ensureAnchor(parseCertificate(second ?? new Uint8Array()), {});
const path: Judge = ([first, second]) => {
  const bundle = { trustDomain, authorities: second ? [second] : [], sequence: 0n };
  return verifySvid(first ? [first] : [], bundle, THEN).id;
};

/** Which of our verdicts is asked, and the answer: an ID or a refusal. */
const JUDGED: Readonly<Record<string, readonly [Judge, string | { code: string; message: RegExp }]>> = {
  'good-leaf-and-intermediate.pem': [path, ID],
  'good-leaf-only.pem': [leaf, ID],
  'corrupt-cert.pem': [leaf, { code: 'certificate_parse', message: /./ }],
  'not-pem': [leaf, { code: 'certificate_parse', message: /no PEM block/ }],
  'wrong-intermediate-no-ca.pem': [intermediate, { code: 'chain', message: /an issuer is not an authority/ }],
  'wrong-intermediate-no-key-cert-sign.pem': [intermediate, { code: 'chain', message: /may not sign certificates/ }],
  'wrong-leaf-ca-true.pem': [leaf, { code: 'svid', message: /the certificate of an authority names a workload/ }],
  'wrong-leaf-cert-sign.pem': [leaf, { code: 'svid', message: /allows signing certificates/ }],
  'wrong-leaf-crl-sign.pem': [leaf, { code: 'svid', message: /allows signing CRLs/ }],
  'wrong-leaf-empty-id.pem': [leaf, { code: 'svid', message: /no URI name/ }],
  'wrong-leaf-no-digital-signature.pem': [leaf, { code: 'svid', message: /does not allow digital signatures/ }],
};

test.for(Object.entries(JUDGED))('SVID %s', ([file, [judge, expected]], context) => {
  const text = fs.readFileSync(join(vectorsOrSkip(SOURCE, context), SVIDS, file), 'utf8');
  const judged = () => judge(readPem(text, 'CERTIFICATE', 'certificate_parse'));
  if (typeof expected === 'string') return expect(judged()).toBe(expected);
  const message = expect.stringMatching(expected.message);
  return expect(judged).toThrow(expect.objectContaining({ code: expected.code, message }));
});

/**
 * How many X.509 authorities each has; undefined is a refusal. Keys of JWTs and WITs are ignored, whatever
 * they lack.
 */
const AUTHORITIES: Readonly<Record<string, number | undefined>> = {
  'spiffebundle_missing_kid.json': 1,
  // go-spiffe refuses it; X509-SVID.md section 6.2 has all values after the first ignored.
  'spiffebundle_multiple_x509.json': 1,
  'spiffebundle_no_keys.json': undefined,
  'spiffebundle_valid_1.json': 1,
  'spiffebundle_valid_2.json': 1,
  'spiffebundle_valid_with_wit.json': 1,
};

test.for(Object.entries(AUTHORITIES))('bundle %s', ([file, count], context) => {
  const bytes = fs.readFileSync(join(vectorsOrSkip(SOURCE, context), BUNDLES, file));
  if (count === undefined) return expect(() => readBundle(bytes, trustDomain)).toThrow(expect.objectContaining({ code: 'bundle' }));
  return expect(readBundle(bytes, trustDomain).authorities.map((der) => parseCertificate(der))).toHaveLength(count);
});

test('no vector is left out', (context) => {
  const folder = vectorsOrSkip(SOURCE, context);
  expect(fs.readdirSync(join(folder, SVIDS)).sort()).toEqual(Object.keys(JUDGED).sort());
  expect(fs.readdirSync(join(folder, BUNDLES)).sort()).toEqual(Object.keys(AUTHORITIES).sort());
});

import { describe, expect, test } from 'vitest';
import { after, extension, keyIdOf, makeAuthority, NOW, signed } from '../../../../test/kit/certificates.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { constructed, DerReader, TAG } from '../../der/read.ts';
import * as der from '../../der/write.ts';
import { concat, hex } from '../../ground/bytes.ts';
import { generateKey, type KeyAlgorithm, signerOf } from '../../keys/key.ts';
import { crlEntries, MAX_CRL_BYTES, parseCrl } from '../crl.ts';
import * as x509 from '../extensions.ts';
import { verifyCrl } from '../verify/crl.ts';
import { CRL_REASON, type CrlFields, crlEntryEnd, lintCrl, writeCrlEntry, writeCrlTbs } from './crl.ts';
import { commonName } from './tbs.ts';

const root = makeAuthority('Root');
const { algorithm } = signerOf(root.key);
const fields = (changes: Partial<CrlFields> = {}): CrlFields => ({
  issuer: root.certificate.subject,
  keyId: keyIdOf(root),
  number: (7n << 40n) + 1n,
  thisUpdate: NOW,
  nextUpdate: after(3600),
  entries: new Uint8Array(),
  ...changes,
});
const end = crlEntryEnd(after(-60), 'keyCompromise');
const one = writeCrlEntry(Buffer.from('40aa', 'hex'), end);
const made = (changes: Partial<CrlFields> = {}, issuer = root) =>
  signed(writeCrlTbs(fields(changes), signerOf(issuer.key).algorithm), issuer.key);
const verify = (crl: Uint8Array, changes: object = {}) =>
  verifyCrl({ der: crl, issuer: root.certificate, now: after(1), ...changes });
const bad = (message: RegExp) => refusal('crl', message);

describe('a CRL', () => {
  test.each(Object.keys(CRL_REASON) as (keyof typeof CRL_REASON)[])(
    'says what is revoked for %s',
    (reason) => {
      const serials = ['40aa', 'ff01', '01'].map((each) => Buffer.from(each, 'hex'));
      const entries = concat(...serials.map((each) => writeCrlEntry(each, crlEntryEnd(after(-60), reason))));
      const crl = verify(made({ entries }));
      expect(crl).toMatchObject({ number: (7n << 40n) + 1n, thisUpdate: NOW, nextUpdate: after(3600) });
      const code = reason === 'unspecified' ? undefined : CRL_REASON[reason];
      const about = { revokedAt: after(-60), reason: code };
      expect([...crlEntries(crl)]).toEqual(['40aa', '00ff01', '01'].map((serial) => ({ serial, ...about })));
    },
  );

  test('without entries has no list of them', () => {
    const crl = made();
    expect([...crlEntries(verify(crl))]).toEqual([]);
    expect(hex(crl)).not.toContain('3000');
  });

  test.each<KeyAlgorithm>(['ecdsa-p256', 'ecdsa-p384'])('is signed as a key on %s signs', (name) => {
    const issuer = makeAuthority('Large', undefined, { key: generateKey(name) });
    const own = { issuer: issuer.certificate.subject, keyId: keyIdOf(issuer), entries: one };
    expect(verify(made(own, issuer), { issuer: issuer.certificate }).number).toBe((7n << 40n) + 1n);
  });

  test('may have a number of 20 octets, and one of 0', () => {
    expect(verify(made({ number: 2n ** 159n - 1n })).number).toBe(2n ** 159n - 1n);
    expect(verify(made({ number: 0n })).number).toBe(0n);
  });
});

/** The to-be-signed elements in order, of which a row replaces some. */
function rebuilt(change: (parts: Uint8Array[]) => readonly Uint8Array[]): Uint8Array {
  const body = new DerReader(writeCrlTbs(fields({ entries: one }), algorithm), 'crl').sequence('it');
  const parts: Uint8Array[] = [];
  while (body.tag !== undefined) parts.push(body.element(body.tag, 'it'));
  return signed(der.sequence(...change(parts)), root.key);
}
const withExtensions = (...extensions: readonly Uint8Array[]) =>
  rebuilt((parts) => [
    ...parts.slice(0, 6),
    der.explicit(0, der.sequence(x509.authorityKeyIdentifier(keyIdOf(root)), ...extensions)),
  ]);
const number = (value: Uint8Array) => extension(x509.OID.crlNumber, false, value);
const entry = (...extensions: readonly Uint8Array[]) =>
  made({ entries: der.sequence(der.smallInteger(5), der.time(NOW), der.sequence(...extensions)) });

describe('I120 a CRL is refused', () => {
  const good = made({ entries: one });
  const other = makeAuthority('Other');
  const twin = makeAuthority('Root');
  const mute = makeAuthority('Mute', undefined, { extensions: { usage: x509.keyUsage(5) } });
  const forged = Buffer.from(good);
  forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;

  test.each<[string, Uint8Array, RegExp, object?]>([
    ['of 10 MB', Buffer.alloc(10_000_000), /has 10000000 bytes, at most 8388608$/],
    ['that ends early', good.subarray(0, -1), /ends early$/],
    ['with a byte behind it', concat(good, Uint8Array.of(0)), /1 trailing bytes$/],
    ['with another signature', forged, /the signature of the CRL does not verify$/],
    ['signed by a key of the same name', made({}, twin), /the signature of the CRL does not verify$/],
    ['of another issuer', made({ issuer: commonName('Other') }), /is of another issuer$/],
    ['shown for another issuer', good, /is of another issuer$/, { issuer: other.certificate }],
    ['of another key', made({ keyId: keyIdOf(other) }), /is not that of its issuer$/],
    [
      'of an issuer that may not sign CRLs',
      made({ issuer: mute.certificate.subject, keyId: keyIdOf(mute) }, mute),
      /may not sign CRLs$/,
      { issuer: mute.certificate },
    ],
    ['that is yet to come', good, /which is yet to come$/, { now: after(-1) }],
    ['at its end', good, /^the CRL ended at 2026-06-01T13:00:00.000Z$/, { now: after(3600) }],
    ['older than the one that is held', good, /older than \d+, which is held$/, { held: (7n << 40n) + 2n }],
    ['that ends as it begins', made({ nextUpdate: NOW }), /nextUpdate is not after thisUpdate$/],
    ['of version 1', rebuilt((parts) => parts.slice(1)), /is of version 1$/],
    ['of version 3', rebuilt(([, ...rest]) => [der.smallInteger(2), ...rest]), /of version 3, not 2$/],
    [
      'with two algorithms',
      rebuilt(([v, , ...rest]) => [v ?? one, Buffer.from('300a06082a8648ce3d040303', 'hex'), ...rest]),
      /the two signature algorithms differ$/,
    ],
    [
      'with an empty list',
      rebuilt((parts) => [...parts.slice(0, 5), der.sequence(), ...parts.slice(6)]),
      /list of revoked certificates is empty$/,
    ],
    ['without extensions', rebuilt((parts) => parts.slice(0, 6)), /CRL extensions is missing$/],
    ['without a number', withExtensions(), /has no number$/],
    ['with a negative number', withExtensions(number(Buffer.from('0201ff', 'hex'))), /is negative$/],
    [
      'with a number of 21 octets',
      withExtensions(number(der.tlv(TAG.integer, Buffer.alloc(21, 1)))),
      /has 21 octets, at most 20$/,
    ],
    [
      'with a number and more',
      withExtensions(number(Buffer.from('02010100', 'hex'))),
      /CRL number has 1 trailing bytes$/,
    ],
    [
      'of one part (an issuing distribution point)',
      withExtensions(number(der.smallInteger(1)), extension('2.5.29.28', true, der.sequence())),
      /critical extension 2\.5\.29\.28 is not processed$/,
    ],
    [
      'of changes (a delta)',
      withExtensions(number(der.smallInteger(1)), extension('2.5.29.27', true, der.smallInteger(1))),
      /critical extension 2\.5\.29\.27 is not processed$/,
    ],
    [
      'with something behind its extensions',
      rebuilt((parts) => [...parts, der.tlv(constructed(1))]),
      /to-be-signed CRL has 2 trailing bytes$/,
    ],
  ])('%s', (_, crl, message, changes) => {
    expect(() => verify(crl, changes)).toThrow(bad(message));
  });

  test('and its number may be the one that is held', () => {
    expect(verify(good, { held: (7n << 40n) + 1n }).number).toBe((7n << 40n) + 1n);
    expect(parseCrl(good).der.length).toBeLessThan(MAX_CRL_BYTES);
  });
});

test.each<[string, Uint8Array, RegExp]>([
  [
    'a critical extension',
    entry(extension('2.5.29.29', true, der.sequence())),
    /29 of an entry is not processed$/,
  ],
  ['no extension in its list', entry(), /the list of extensions is empty$/],
  [
    'a reason and more',
    entry(extension(x509.OID.reasonCode, false, Buffer.from('0a010100', 'hex'))),
    /reason has 1/,
  ],
  ['an odd date', made({ entries: der.sequence(der.smallInteger(5), der.tlv(TAG.utcTime)) }), /not a time/],
  [
    'something behind it',
    made({ entries: der.sequence(der.smallInteger(5), end, der.smallInteger(1)) }),
    /extensions has 3/,
  ],
])('an entry with %s is refused', (_, crl, message) => {
  expect(() => [...crlEntries(parseCrl(crl))]).toThrow(bad(message));
});

describe('the lint', () => {
  const lint = (changes: Partial<CrlFields>, count = 1, by: KeyAlgorithm = algorithm) =>
    lintCrl(writeCrlTbs({ ...fields({ entries: one }), ...changes }, by), {
      ...fields(),
      algorithm,
      count,
    });

  test('passes what was ordered', () => {
    expect(() => lint({})).not.toThrow();
  });

  test.each<[string, Partial<CrlFields>, RegExp, number?, KeyAlgorithm?]>([
    ['another issuer', { issuer: commonName('Other') }, /issuer of the CRL is not the name/],
    ['another key', { keyId: Buffer.alloc(20) }, /key identifier of the CRL is not/],
    ['another number', { number: 1n }, /has number 1, not/],
    ['another beginning', { thisUpdate: after(-1) }, /times of the CRL are not/],
    ['another end', { nextUpdate: after(9) }, /times of the CRL are not/],
    ['fewer entries', { entries: new Uint8Array() }, /has 0 entries, not 1/],
    ['more entries', {}, /has 1 entries, not 0/, 0],
    ['another algorithm', {}, /signature algorithm of the CRL is not/, 1, 'ecdsa-p384'],
    ['more than a reader takes', { entries: der.tlv(TAG.sequence, Buffer.alloc(MAX_CRL_BYTES)) }, /too many/],
  ])('finds %s', (_, changes, message, count, by) => {
    expect(() => lint(changes, count, by)).toThrow(refusal('lint', message));
  });
});

test('a CRL distribution point is one URI, and reads as it was written', () => {
  const written = x509.crlDistributionPoint('http://crl.prod.example/40aa.crl');
  const list = new DerReader(written, 'der').sequence('it');
  const oid = list.oid('it');
  const found = { extensions: new Map([[oid, { critical: false, value: list.octets('it') }]]) };
  const [name, ...more] = x509.readCrlDistributionPoints(found, 'der') ?? [];
  expect([Buffer.from(name?.value ?? []).toString(), more]).toEqual(['http://crl.prod.example/40aa.crl', []]);
  expect(x509.readCrlDistributionPoints({ extensions: new Map() }, 'der')).toBeUndefined();
  const empty = new Map([[oid, { critical: false, value: der.sequence() }]]);
  expect(() => x509.readCrlDistributionPoints({ extensions: empty }, 'der')).toThrow(
    refusal('der', /no CRL distribution point$/),
  );
});

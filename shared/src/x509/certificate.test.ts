import { describe, expect, test } from 'vitest';
import { extension, keyIdOf, makeAuthority, makeLeaf, NOW, signed } from '../../../test/kit/certificates.ts';
import { DerReader } from '../der/read.ts';
import * as der from '../der/write.ts';
import { concat, equal, hex } from '../ground/bytes.ts';
import { parseCertificate, publicKeyOf } from './certificate.ts';
import { commonName, writeTbs } from './compose/tbs.ts';
import {
  readBasicConstraints,
  readKeyUsage,
  readSubjectAltName,
  readSubjectKeyIdentifier,
} from './extensions.ts';
import { isSameName, text } from './names.ts';

const root = makeAuthority('Root');
const leaf = makeLeaf('spiffe://prod.example/web', root);
const { certificate } = leaf;

/** The fields of the to-be-signed sequence, one by one. */
const fieldsOf = (tbs: Uint8Array): Uint8Array[] => {
  const list = new DerReader(tbs, 'der').sequence('it');
  const fields: Uint8Array[] = [];
  while (list.tag !== undefined) fields.push(list.element(list.tag, 'it'));
  return fields;
};
const FIELD = {
  version: 0,
  serial: 1,
  algorithm: 2,
  issuer: 3,
  validity: 4,
  subject: 5,
  spki: 6,
  extensions: 7,
};

/** A genuine certificate with one field replaced, signed. */
function withField(name: keyof typeof FIELD, ...values: readonly Uint8Array[]): Uint8Array {
  const fields = fieldsOf(certificate.tbs);
  fields.splice(FIELD[name], 1, ...values);
  return signed(der.sequence(...fields), root.key);
}

test('a certificate is read into the parts that were written', () => {
  expect(certificate.notAfter).toEqual(new Date(NOW.getTime() + 3600_000));
  expect(equal(certificate.issuer, root.certificate.subject)).toBe(true);
  expect(readBasicConstraints(certificate, 'der')).toEqual({ ca: false, pathLength: undefined });
  expect([...(readKeyUsage(certificate, 'der') ?? [])]).toEqual([0]);
  expect(readSubjectAltName(certificate, 'der')?.map(({ kind, value }) => [kind, text(value)])).toEqual([
    [6, 'spiffe://prod.example/web'],
  ]);
  expect(readSubjectKeyIdentifier(root.certificate, 'der')).toEqual(keyIdOf(root));
  expect(publicKeyOf(certificate)).toBe(publicKeyOf(certificate));
});

test('a date of 9999 is read', () => {
  const forever = makeLeaf('spiffe://prod.example/web', root, {
    fields: { notAfter: new Date('9999-12-31T23:59:59Z') },
  });
  expect(forever.certificate.notAfter.toISOString()).toBe('9999-12-31T23:59:59.000Z');
});

describe('refuses', () => {
  const good = certificate.der;
  const tbs = certificate.tbs;
  const [version1, version2] = [der.explicit(0, der.smallInteger(0)), der.explicit(0, der.smallInteger(1))];
  const bits = der.bitBytes(certificate.signature);
  const algorithm = certificate.signatureAlgorithm;
  const other = der.sequence(der.oid('1.2.840.10045.4.3.3'));
  const list = (...items: readonly Uint8Array[]) =>
    withField('extensions', der.explicit(3, der.sequence(...items)));
  const thing = extension('1.2.3.4', false, Uint8Array.of(1));
  const times = [der.time(certificate.notBefore), der.time(certificate.notAfter)] as const;
  const bent = der.sequence(der.tlv(5, Uint8Array.of(1)));

  test.each([
    ['100 KB', concat(good, Buffer.alloc(100 * 1024)), /at most 65536/],
    ['trailing bytes', concat(good, Uint8Array.of(0)), /certificate has 1 trailing/],
    ['a fourth part', der.sequence(tbs, algorithm, bits, der.tlv(5)), /certificate has 2 trailing/],
    ['another algorithm outside', der.sequence(tbs, other, bits), /two signature algorithms differ/],
    ['version 1, left out', withField('version'), /of version 1$/],
    ['version 1, written', withField('version', version1), /of version 1, not 3/],
    ['version 2', withField('version', version2), /of version 2, not 3/],
    ['more in the version', withField('version', der.explicit(0, der.smallInteger(2), thing)), /version has/],
    ['a padded serial number', withField('serial', Uint8Array.of(2, 2, 0, 1)), /INTEGER with padding/],
    ['a third time', withField('validity', der.sequence(...times, times[0])), /validity has 15 trailing/],
    ['a bent issuer', withField('issuer', bent), /issuer is a NULL with content/],
    ['a bent subject', withField('subject', bent), /subject is a NULL with content/],
    ['a bent key', withField('spki', bent), /public key is a NULL with content/],
    ['no extensions', withField('extensions'), /extensions is missing/],
    ['unique identifiers', withField('extensions', der.tlv(0x82, bits)), /tag 0x82, not 0xa3/],
    ['an empty list of extensions', list(), /list of extensions is empty/],
    ['an extension twice', list(thing, thing), /1.2.3.4 is there twice/],
    [
      'more in an extension',
      list(der.sequence(der.oid('1.2'), der.octets(), der.octets())),
      /extension has 2/,
    ],
    [
      'more after the extensions',
      withField('extensions', der.explicit(3, der.sequence(thing), thing)),
      /extensions has/,
    ],
    ['a ninth field', der.sequence(withNinth(), algorithm, bits), /to-be-signed certificate has 2 trailing/],
  ])('%s', (_, input, message) => {
    const refusal = expect.objectContaining({
      code: 'certificate_parse',
      message: expect.stringMatching(message),
    });
    expect(() => parseCertificate(input)).toThrow(refusal);
  });

  function withNinth(): Uint8Array {
    return der.sequence(...fieldsOf(tbs), der.tlv(5));
  }
});

test('what is read is written back byte for byte', () => {
  const { serial, issuer, subject, notBefore, notAfter, spki, tbs } = certificate;
  const outer = new DerReader(fieldsOf(tbs)[FIELD.extensions] ?? tbs, 'der').enter(0xa3, 'it').sequence('it');
  const extensions: Uint8Array[] = [];
  while (outer.tag !== undefined) extensions.push(outer.element(outer.tag, 'it'));
  const again = writeTbs({ serial, issuer, subject, notBefore, notAfter, spki, extensions }, 'ecdsa-p256');
  expect(hex(again)).toBe(hex(tbs));
});

describe('names are the same', () => {
  const typed = (tag: number, value: string) =>
    der.sequence(der.set(der.sequence(der.oid('2.5.4.3'), der.tlv(tag, Buffer.from(value)))));
  test.each([
    ['byte for byte', commonName('Root'), true],
    ['in another case', commonName('ROOT'), true],
    ['as another string type', typed(0x13, 'Root'), true],
    ['with spaces around', commonName('  root '), true],
    ['but not with another letter', commonName('Rooť'), false],
    ['nor with a space inside', commonName('Ro ot'), false],
    ['nor as a string type that has no case', typed(0x14, 'Root'), false],
    ['nor with more', der.sequence(...[1, 2].map(() => commonName('Root').subarray(2))), false],
  ])('%s', (_, name, same) => {
    expect(isSameName(commonName('Root'), name, 'chain')).toBe(same);
    expect(isSameName(name, commonName('Root'), 'chain')).toBe(same);
  });
});

test('names that are malformed are not compared', () => {
  const empty = der.sequence(der.set());
  const refusal = (message: RegExp) =>
    expect.objectContaining({ code: 'chain', message: expect.stringMatching(message) });
  expect(() => isSameName(commonName('Root'), empty, 'chain')).toThrow(refusal(/relative name is empty/));
  const pair = der.sequence(der.oid('2.5.4.3'), der.utf8String('Root'), der.tlv(5));
  expect(() => isSameName(commonName('Root'), der.sequence(der.set(pair)), 'chain')).toThrow(
    refusal(/has 2 trailing/),
  );
});

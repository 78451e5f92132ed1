import { describe, expect, test } from 'vitest';
import { extension } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { DerReader } from '../der/read.ts';
import * as der from '../der/write.ts';
import type { Attested } from '../spiffe/attested.ts';
import { attestedExtension, readAttested } from './attested.ts';
import { parseExtensions } from './certificate.ts';
import { OID } from './extensions.ts';

const read = (whole: Uint8Array): Attested => {
  const extensions = parseExtensions(new DerReader(der.sequence(whole), 'svid'), 'svid');
  return readAttested({ extensions }, 'svid');
};
const DESCRIPTION = '2.5.4.13';
const said = (...texts: readonly string[]): Uint8Array => values(texts.map((text) => der.utf8String(text)));
const values = (items: readonly Uint8Array[], type = DESCRIPTION): Uint8Array =>
  extension(
    OID.subjectDirectoryAttributes,
    false,
    der.sequence(der.sequence(der.oid(type), der.set(...items))),
  );

test('what is written is read', () => {
  const attributes = new Map([
    ['kubernetes.namespace', 'prod'],
    ['kubernetes.account', 'a=b, ü'],
    ['aws.account', '42'],
  ]);
  for (const [platform, scope] of [[undefined, 'billing'], ['aws+kubernetes/eu-1']] as const) {
    const { attributes: found, ...more } = read(attestedExtension({ platform, scope, attributes }));
    expect(more).toEqual({ platform, scope });
    expect(new Map([...found].toSorted())).toEqual(new Map([...attributes].toSorted()));
  }
});

test('a certificate without it says nothing', () => {
  const nothing = { platform: undefined, attributes: new Map() };
  expect(readAttested({ extensions: new Map() }, 'svid')).toEqual(nothing);
});

describe('a certificate is refused', () => {
  const many = Array.from({ length: 17 }, (_, n) => `aws.a${String.fromCharCode(97 + n)}=x`);
  test('that says as much as it may is not', () => {
    expect(read(said(...many.slice(1))).attributes.size).toBe(16);
  });
  test.each<[string, Uint8Array, RegExp]>([
    ['that says a thing twice', said('aws.account=1', 'aws.account=2'), /aws.account is there twice$/],
    ['that says the same twice', said('aws.account=1', 'aws.account=1'), /not in the order of DER$/],
    ['that says two platforms', said('platform=aws', 'platform=tpm'), /platform is there twice$/],
    ['in another order', said('aws.b=1', 'aws.a=1'), /not in the order of DER$/],
    ['that says more', said(...many), /^17 attested attributes, at most 16$/],
    ['that says nothing', said(), /^there is no attested attribute$/],
    ['that gives no value', said('aws.account='), /is not a name with a value$/],
    ['that gives no name', said('=1'), /is not a name with a value$/],
    ['without =', said('aws.account'), /is not a name with a value$/],
    ['that names a later field', said('narrowed=x'), /is not a name with a value$/],
    ['whose scope is not a name', said('scope=Billing'), /is not a name with a value$/],
    ['with two scopes', said('scope=a', 'scope=b'), /scope is there twice$/],
    ['whose name has two dots', said('aws.account.x=1'), /is not a name with a value$/],
    ['whose value has a newline', said('aws.account=1\n2'), /is not a name with a value$/],
    ['whose value turns the text', said('aws.account=1\u202e2'), /is not a name with a value$/],
    ['whose value is long', said(`aws.account=${'x'.repeat(257)}`), /is not a name with a value$/],
    ['that is too large', said(`aws.account=${'x'.repeat(9000)}`), /bytes, at most 8192$/],
    ['of another type of text', values([der.tlv(0x13, Buffer.from('aws.a=1'))]), /attested attribute/],
    ['that is not UTF-8', values([der.tlv(0x0c, Uint8Array.of(0x61, 0x2e, 0xff))]), /is not UTF-8$/],
    ['of another attribute', values([der.utf8String('aws.a=1')], '2.5.4.72'), /2.5.4.72 is none of ours$/],
    [
      'with a second attribute',
      extension(
        OID.subjectDirectoryAttributes,
        false,
        der.sequence(
          ...['aws.a=1', 'aws.b=1'].map((text) =>
            der.sequence(der.oid(DESCRIPTION), der.set(der.utf8String(text))),
          ),
        ),
      ),
      /subject directory attributes/,
    ],
  ])('%s', (_, whole, says) => {
    expect(() => read(whole)).toThrow(refusal('svid', says));
  });
});

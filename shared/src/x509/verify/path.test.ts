import { describe, expect, test } from 'vitest';
import {
  after,
  extension,
  keyIdOf,
  type Made,
  makeAuthority,
  makeLeaf,
  NOW,
  type Recipe,
} from '../../../../test/kit/certificates.ts';
import * as der from '../../der/write.ts';
import { utf8 } from '../../ground/bytes.ts';
import { generateKey } from '../../keys/key.ts';
import type { Certificate } from '../certificate.ts';
import { commonName } from '../compose/tbs.ts';
import * as x509 from '../extensions.ts';
import { EMPTY_NAME } from '../names.ts';
import { type PathRequest, verifyPath } from './path.ts';

const ID = 'spiffe://prod.example/web';
const root = makeAuthority('Root');
const issuing = makeAuthority('Issuing', root);
const leaf = makeLeaf(ID, issuing);

type Changed = Partial<PathRequest>;
const genuine: PathRequest = {
  leaf: leaf.certificate,
  intermediates: [issuing.certificate],
  anchors: [root.certificate],
  now: NOW,
};
const verify = (changed: Changed = {}) => verifyPath({ ...genuine, ...changed });
const names = (path: readonly Certificate[]) => path.map(({ serial }) => serial);
const only = (made: Made): readonly Certificate[] => [made.certificate];
/** The path of an unchanged leaf under a changed intermediate. */
const under = (recipe: Recipe): Changed => {
  const changed = makeAuthority('Issuing', root, recipe);
  return { leaf: makeLeaf(ID, changed).certificate, intermediates: only(changed) };
};
const underRoot = (recipe: Recipe): Changed => {
  const changed = makeAuthority('Root', undefined, recipe);
  return { leaf: makeLeaf(ID, changed).certificate, intermediates: [], anchors: only(changed) };
};
const changedLeaf = (recipe: Recipe): Changed => ({ leaf: makeLeaf(ID, issuing, recipe).certificate });

describe('accepts', () => {
  test('leaf, intermediate, anchor', () => {
    expect(names(verify())).toEqual([leaf, issuing, root].map(({ certificate }) => certificate.serial));
  });

  test('a leaf under an anchor', () => {
    expect(verify(underRoot({}))).toHaveLength(2);
  });

  test('an anchor that is not a root', () => {
    expect(verify({ anchors: only(issuing), intermediates: [] })).toHaveLength(2);
  });

  test('intermediates in any order, with unrelated ones among them', () => {
    const stranger = makeAuthority('Stranger');
    const odd = makeAuthority('Odd', stranger, {
      extensions: { odd: extension('1.2.3', true, der.sequence()) },
    });
    expect(
      verify({ intermediates: [odd, root, issuing].map(({ certificate }) => certificate) }),
    ).toHaveLength(3);
  });

  test('another issuer of the same name if the first has expired', () => {
    const expired = makeAuthority('Issuing', root, { key: issuing.key, fields: { notAfter: after(-1) } });
    const path = verify({ intermediates: [expired.certificate, issuing.certificate] });
    expect(path[1]).toBe(issuing.certificate);
  });

  test('the first and the last second of a validity', () => {
    const { notBefore, notAfter } = leaf.certificate;
    expect(verify({ now: notBefore })).toHaveLength(3);
    expect(verify({ now: new Date(notAfter.getTime() + 999) })).toHaveLength(3);
  });

  test('an endorsement certificate: critical directory name, its own purpose, no end', () => {
    const purpose = '2.23.133.8.1';
    const device = der.explicit(4, commonName('id:49424D00'));
    const recipe = {
      extensions: {
        usage: x509.keyUsage(2),
        purposes: x509.extKeyUsage(purpose),
        names: extension('2.5.29.17', true, der.sequence(device)),
      },
      fields: { notAfter: new Date('9999-12-31T23:59:59Z') },
    };
    expect(verify({ ...changedLeaf(recipe), eku: purpose })).toHaveLength(3);
  });

  test('policies, which no caller requires', () => {
    const policies = extension('2.5.29.32', true, der.sequence(der.sequence(der.oid('1.2.3.4'))));
    expect(verify(under({ extensions: { policies } }))).toHaveLength(3);
  });

  test('an anchor with serial number 0, and a self-issued one that does not count as intermediate', () => {
    const zero = makeAuthority('Root', undefined, { fields: { serial: Uint8Array.of(0) } });
    const tight = x509.basicConstraints({ pathLength: 0 });
    const top = makeAuthority('Issuing', zero, { extensions: { constraints: tight } });
    const rolled = makeAuthority('Issuing', top);
    const request = {
      leaf: makeLeaf(ID, rolled).certificate,
      intermediates: [...only(rolled), ...only(top)],
    };
    expect(verify({ ...request, anchors: only(zero), maxIntermediates: 1 })).toHaveLength(4);
  });
});

describe('refuses', () => {
  const usage = x509.keyUsage(x509.KEY_USAGE.digitalSignature);
  const purposes = (...list: readonly string[]) => x509.extKeyUsage(...list);
  const unknown = extension('1.2.3.4', true, der.sequence());
  const bent = (certificate: Certificate): Certificate => ({
    ...certificate,
    signature: certificate.signature.map((byte, i) => (i === 20 ? byte ^ 1 : byte)),
  });
  const named = (list: Uint8Array, critical = true) => ({ names: extension('2.5.29.17', critical, list) });
  const dns = (name: string) => named(der.sequence(der.implicit(2, utf8(name))));
  const limited = (limit: Uint8Array, critical = true) => ({
    limit: extension('2.5.29.30', critical, limit),
  });
  const onlyTest = der.sequence(der.explicit(0, der.sequence(der.implicit(6, utf8('test.example')))));
  const notAuthority = der.sequence(der.smallInteger(1));

  test.each<[string, Changed, string, RegExp]>([
    ['no anchors', { anchors: [] }, 'chain', /does not end at a trusted root/],
    ['no intermediate', { intermediates: [] }, 'chain', /does not end at a trusted root/],
    [
      'an issuer of another name, with the same key',
      changedLeaf({ fields: { issuer: commonName('Other') } }),
      'chain',
      /does not end at a trusted root/,
    ],
    [
      'an anchor of another name',
      { anchors: only(makeAuthority('Other')) },
      'chain',
      /does not end at a trusted root/,
    ],
    [
      'an anchor of the same name and another key',
      { anchors: only(makeAuthority('Root')) },
      'chain',
      /does not end at a trusted root/,
    ],
    [
      'the same name and key identifier with another key',
      {
        anchors: only(
          makeAuthority('Root', undefined, {
            extensions: { keyId: x509.subjectKeyIdentifier(keyIdOf(root)) },
          }),
        ),
      },
      'chain',
      /signature of a certificate does not verify/,
    ],
    [
      'a bent signature',
      { leaf: bent(leaf.certificate) },
      'chain',
      /signature of a certificate does not verify/,
    ],
    [
      'a bent intermediate',
      { intermediates: [bent(issuing.certificate)] },
      'chain',
      /signature of a certificate/,
    ],
    [
      'itself as its anchor',
      { leaf: root.certificate, intermediates: [] },
      'chain',
      /no authority key identifier/,
    ],

    [
      'a leaf not yet valid',
      { now: new Date(leaf.certificate.notBefore.getTime() - 1) },
      'expired_peer',
      /not valid before/,
    ],
    [
      'an expired leaf',
      { now: new Date(leaf.certificate.notAfter.getTime() + 1000) },
      'expired_peer',
      /expired at/,
    ],
    ['an expired intermediate', under({ fields: { notAfter: after(-1) } }), 'expired_peer', /expired at/],
    [
      'an intermediate not yet valid',
      under({ fields: { notBefore: after(1) } }),
      'expired_peer',
      /not valid before/,
    ],
    ['an expired anchor', underRoot({ fields: { notAfter: after(-1) } }), 'expired_peer', /expired at/],

    // attacks.md I14.
    [
      'a leaf as issuer',
      {
        leaf: makeLeaf(ID, makeNamed(leaf)).certificate,
        intermediates: [...only(makeNamed(leaf)), ...only(issuing)],
      },
      'chain',
      /an issuer is not an authority/,
    ],
    [
      'an issuer without basic constraints',
      under({ extensions: { constraints: undefined } }),
      'chain',
      /no basic constraints/,
    ],
    [
      'an authority whose basic constraints are not critical',
      under({ extensions: { constraints: extension('2.5.29.19', false, der.sequence(der.boolean(true))) } }),
      'chain',
      /basic constraints of an authority are not critical/,
    ],
    [
      'a path length without an authority',
      under({ extensions: { constraints: extension('2.5.29.19', true, notAuthority) } }),
      'chain',
      /limit the path length of a certificate that is not a CA/,
    ],
    [
      'an authority that may not sign certificates',
      under({ extensions: { usage } }),
      'chain',
      /may not sign certificates/,
    ],
    [
      'an authority without a key identifier',
      under({ extensions: { keyId: undefined } }),
      'chain',
      /no subject key ident/,
    ],
    ['an authority without a subject', under({ fields: { subject: EMPTY_NAME } }), 'chain', /has no issuer/],
    [
      'an intermediate without an authority key identifier',
      under({ extensions: { authority: undefined } }),
      'chain',
      /no authority key/,
    ],
    [
      'an intermediate for another purpose',
      { ...under({ extensions: { p: purposes(x509.EKU.clientAuth) } }), eku: x509.EKU.serverAuth },
      'chain',
      /an intermediate is not for 1.3.6.1.5.5.7.3.1/,
    ],
    ['a path longer than an authority allows', tooLong(), 'chain', /allows 0 intermediates below it/],
    [
      'a path longer than the caller allows',
      { maxIntermediates: 0 },
      'chain_too_long',
      /more than 0 intermediates/,
    ],

    [
      'an unknown critical extension in the leaf',
      changedLeaf({ extensions: { unknown } }),
      'chain',
      /1.2.3.4 is not processed/,
    ],
    ['one in an intermediate', under({ extensions: { unknown } }), 'chain', /1.2.3.4 is not processed/],
    ['one in the anchor', underRoot({ extensions: { unknown } }), 'chain', /1.2.3.4 is not processed/],
    [
      'policy constraints',
      under({ extensions: { policy: extension('2.5.29.36', false, der.sequence()) } }),
      'chain',
      /policy constraints are not processed/,
    ],

    [
      'a leaf without an authority key identifier',
      changedLeaf({ extensions: { authority: undefined } }),
      'chain',
      /no authority key/,
    ],
    [
      'a serial number of 21 octets',
      changedLeaf({ fields: { serial: Buffer.alloc(21, 1) } }),
      'chain',
      /21 octets/,
    ],
    [
      'serial number 0',
      changedLeaf({ fields: { serial: Uint8Array.of() } }),
      'chain',
      /serial number is zero/,
    ],
    [
      'a leaf that may sign certificates',
      changedLeaf({ extensions: { usage: x509.keyUsage(0, 5) } }),
      'chain',
      /end entity may sign/,
    ],
    [
      'a leaf with name constraints',
      changedLeaf({ extensions: limited(onlyTest) }),
      'chain',
      /end entity has name constraints/,
    ],
    ['a leaf for another purpose', { eku: '2.23.133.8.1' }, 'chain', /certificate is not for 2.23.133.8.1/],
    [
      'a leaf without a purpose where one is asked',
      { ...changedLeaf({ extensions: { purposes: undefined } }), eku: x509.EKU.clientAuth },
      'chain',
      /certificate is not for/,
    ],
    [
      'a leaf for any purpose where one is asked',
      { ...changedLeaf({ extensions: { purposes: purposes(x509.EKU.any) } }), eku: x509.EKU.clientAuth },
      'chain',
      /certificate is not for/,
    ],
    [
      'an empty list of purposes',
      changedLeaf({ extensions: { purposes: purposes() } }),
      'chain',
      /extended key usage allows nothing/,
    ],
    [
      'an empty key usage',
      changedLeaf({ extensions: { usage: extension('2.5.29.15', true, Buffer.from('03020000', 'hex')) } }),
      'chain',
      /key usage allows nothing/,
    ],
    [
      'names that are not critical beside an empty subject',
      changedLeaf({ extensions: named(der.sequence(der.implicit(6, utf8(ID))), false) }),
      'chain',
      /beside an empty subject are not critical/,
    ],
    ['an empty list of names', changedLeaf({ extensions: named(der.sequence()) }), 'chain', /has no names/],
    [
      'a name of unknown kind',
      changedLeaf({ extensions: named(der.sequence(der.implicit(9, utf8('x')))) }),
      'chain',
      /unknown kind 9/,
    ],
    [
      'a bent directory name',
      changedLeaf({
        extensions: named(der.sequence(der.explicit(4, der.sequence(der.tlv(5, Buffer.alloc(1)))))),
      }),
      'chain',
      /NULL with content/,
    ],
    [
      'a name with a newline',
      changedLeaf({ extensions: dns('a.example\nb.example') }),
      'chain',
      /not plain ASCII/,
    ],
    [
      'a name with an underscore',
      changedLeaf({ extensions: dns('a_b.example') }),
      'chain',
      /is malformed: "a_b.example"/,
    ],
    ['an address as a name', changedLeaf({ extensions: dns('10.0.0.1') }), 'chain', /is malformed/],
    [
      'a relative URI',
      changedLeaf({ extensions: named(der.sequence(der.implicit(6, utf8('/web')))) }),
      'chain',
      /is malformed/,
    ],
    [
      'an address of 5 bytes',
      changedLeaf({ extensions: named(der.sequence(der.implicit(7, Buffer.alloc(5)))) }),
      'chain',
      /is malformed/,
    ],
    [
      'a mailbox of two hosts',
      changedLeaf({ extensions: named(der.sequence(der.implicit(1, utf8('a@b@c')))) }),
      'chain',
      /is malformed/,
    ],
    [
      'a name that its authority may not certify',
      under({ extensions: limited(onlyTest) }),
      'chain',
      /outside what its authority/,
    ],
    [
      'name constraints that are not critical',
      under({ extensions: limited(onlyTest, false) }),
      'chain',
      /name constraints are not critical/,
    ],
  ])('%s', (_, changed, code, message) => {
    expect(() => verify(changed)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  test('a negative serial number', () => {
    const negative = { ...leaf.certificate, serial: Uint8Array.of(0x80) };
    expect(() => verify({ leaf: negative })).toThrow(/serial number is negative/);
  });

  test('a weak key in the leaf', () => {
    const weak = changedLeaf({
      fields: { spki: der.sequence(der.sequence(der.oid('1.3.101.112')), der.bitBytes(Buffer.alloc(32))) },
    });
    expect(() => verify(weak)).toThrow(expect.objectContaining({ code: 'certificate_parse' }));
  });

  function tooLong(): Changed {
    const top = makeAuthority('Top', root, {
      extensions: { constraints: x509.basicConstraints({ pathLength: 0 }) },
    });
    const below = makeAuthority('Below', top);
    return { leaf: makeLeaf(ID, below).certificate, intermediates: [...only(below), ...only(top)] };
  }

  /** The leaf's key and name, as if it could issue. */
  function makeNamed({ key }: Made): Made {
    const constraints = x509.basicConstraints();
    return makeAuthority('Leaf', issuing, { key, extensions: { constraints, usage: x509.keyUsage(0) } });
  }
});

/** attacks.md I25. A bent key would throw certificate_parse if it were ever imported. */
describe('before any cryptography, refuses', () => {
  const bomb = { ...leaf.certificate, spki: EMPTY_NAME };

  test('17 intermediates', () => {
    const intermediates = Array.from({ length: 17 }, () => issuing.certificate);
    expect(() => verify({ leaf: bomb, intermediates })).toThrow(
      expect.objectContaining({ code: 'chain_too_long', message: '17 intermediates, at most 16' }),
    );
  });

  test.each([
    ['513 names', { extensions: { names: many(513) } }],
    [
      '513 parts of a subject',
      {
        fields: { subject: der.sequence(...Array.from({ length: 513 }, () => commonName('x').subarray(2))) },
      },
    ],
  ])('%s, in the leaf or in an intermediate', (_, recipe) => {
    const { certificate } = makeLeaf(ID, issuing, recipe);
    const refusal = expect.objectContaining({
      code: 'chain_too_long',
      message: expect.stringMatching(/51\d names, at most 512/),
    });
    expect(() => verify({ leaf: { ...certificate, spki: EMPTY_NAME } })).toThrow(refusal);
    expect(() => verify({ leaf: bomb, intermediates: [certificate] })).toThrow(refusal);
  });

  function many(count: number): Uint8Array {
    return x509.subjectAltName({
      uris: Array.from({ length: count }, (_, i) => `${ID}${i}`),
      critical: true,
    });
  }
});

test('a search among authorities that all certify each other ends after 64 tries', () => {
  const [key, name] = [generateKey(), 'Maze'];
  const first = makeAuthority(name, undefined, { key });
  const maze = Array.from({ length: 16 }, () => makeAuthority(name, first, { key }).certificate);
  expect(() => verify({ leaf: makeLeaf(ID, first).certificate, intermediates: maze })).toThrow(
    expect.objectContaining({ code: 'chain_too_long', message: 'no path among the first 64 issuers' }),
  );
});

test.each([500, 501])('I25 500 names under %i constraints', (count) => {
  const zones = Array.from({ length: count }, (_, n) =>
    der.sequence(der.implicit(2, utf8(`zone-${n}.example`))),
  );
  const limit = extension(x509.OID.nameConstraints, true, der.sequence(der.explicit(1, ...zones)));
  const key = generateKey();
  const limited = makeAuthority('Issuing', root, { key, extensions: { limit } });
  const uris = Array.from({ length: 500 }, (_, n) => (n === 0 ? ID : `${ID}${n}`));
  const names = x509.subjectAltName({ uris, critical: true });
  const { certificate } = makeLeaf(ID, limited, { extensions: { names } });
  // One more authority of the name, without constraints, does not cause another search.
  const intermediates = [limited, makeAuthority('Issuing', root, { key })].map((each) => each.certificate);
  const search = () => verify({ leaf: certificate, intermediates });
  const refusal = { code: 'chain_too_long', message: 'names and constraints make more than 250000 pairs' };
  if (count === 500) expect(search()).toContain(limited.certificate);
  else expect(search).toThrow(expect.objectContaining(refusal));
});

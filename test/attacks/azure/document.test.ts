/** Rows C20 to C22 and what an attested document says (C23): one genuine document of Azure's, spoiled one way at a time. */
import { writePem } from '@chancery/shared/der/pem.ts';
import * as der from '@chancery/shared/der/write.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { generateKey } from '@chancery/shared/keys/key.ts';
import * as x509 from '@chancery/shared/x509/extensions.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  algorithm,
  attribute,
  attributesFor,
  OID,
  type SignedDataRecipe,
  type SignerRecipe,
  signedData,
  signerInfo,
} from '../../kit/azure/cms.ts';
import { contentOf, type DocumentRecipe, stamp } from '../../kit/azure/imds.ts';
import { caIssuers, type LeafRecipe, rsaKey } from '../../kit/azure/signers.ts';
import {
  type AzureWorld,
  attestVm,
  documentFor,
  SUBSCRIPTION,
  startAzureWorld,
  TENANT,
} from '../../kit/azure/world.ts';
import { type Made, makeAuthority } from '../../kit/certificates.ts';
import { serve } from '../../kit/http/served.ts';
import { seeded } from '../../kit/random.ts';
import { type Expected, expectRefusal } from '../../kit/tpm/tpm-attestor.ts';

let world: AzureWorld;
let otherCa: Made;
beforeAll(async () => {
  world = await startAzureWorld();
  otherCa = makeAuthority('Test Azure TLS Issuing CA 01', undefined, { fields: life() });
});
afterAll(() => world.close());

const U = (code: Expected['code'], says: RegExp): Expected => ({ status: 'U', code, says });
const I = (code: Expected['code'], says: RegExp): Expected => ({ status: 'I', code, says });
const secondsOn = (seconds: number): Date => new Date(world.clock.now().getTime() + seconds * 1000);
const life = () => ({ notBefore: secondsOn(-86_400), notAfter: secondsOn(86_400) });
const contentFor = (nonce: string): Buffer =>
  Buffer.from(JSON.stringify(contentOf(world.vm, nonce, world.clock.now())));
const attestor = (config: object = {}) => world.attestor({ sameVm: 'subscription', ...config });

/** A genuine document with another message, signer info or signer. */
interface Spoilt {
  readonly by?: Made;
  readonly message?: Partial<SignedDataRecipe>;
  readonly signer?: Partial<SignerRecipe>;
}
const spoilt =
  ({ by, message, signer }: Spoilt) =>
  (nonce: string): Uint8Array => {
    const { leaf } = world.signers;
    const content = contentFor(nonce);
    const info = signerInfo({ content, ...(by ?? leaf), ...signer });
    const certificates = [(by ?? leaf).certificate.der];
    return signedData({ content, certificates, signers: [info], ...message });
  };
const attempt = (document: (nonce: string) => Uint8Array, config?: object) =>
  attestVm(world, attestor(config), { document });

/** Signed by a genuine certificate with other names or other extensions. */
const signedAs = (names: readonly string[], recipe?: LeafRecipe) =>
  attempt(spoilt({ by: world.signers.certify(names, recipe) }));

describe('a genuine document', () => {
  test('gives the VM by its ID, with what the token says beside it', async () => {
    expect(await attestVm(world, attestor())).toEqual({
      node: world.vm.vmId,
      attributes: {
        tenant: TENANT,
        subscription: SUBSCRIPTION,
        resourceGroup: 'agents',
        vmName: 'billing-0',
        vmId: world.vm.vmId,
        principalId: world.identity.principalId,
        identity: world.identity.resource.toLowerCase(),
      },
      exclusive: true,
    });
  });

  const content = (nonce: string) => contentFor(nonce);
  test.each<[string, (nonce: string) => Uint8Array]>([
    [
      'with signed attributes',
      (nonce) => spoilt({ signer: { attributes: attributesFor(content(nonce)) } })(nonce),
    ],
    ['whose digest has its own name', spoilt({ signer: { digestOid: OID.sha256 } })],
    [
      'by an elliptic-curve key',
      (nonce) => {
        const by = world.signers.certify(['metadata.azure.com'], { key: generateKey() });
        return spoilt({ by, signer: { digestOid: OID.sha256, signatureOid: OID.sha256Ecdsa } })(nonce);
      },
    ],
    [
      'with SHA-384',
      spoilt({ signer: { digestOid: OID.sha384, signatureOid: OID.sha384Rsa, digest: 'sha384' } }),
    ],
    [
      'with certificates of others in front',
      (nonce) => {
        const { leaf, root } = world.signers;
        const certificates = [otherCa.certificate.der, root.certificate.der, leaf.certificate.der];
        return spoilt({ message: { certificates } })(nonce);
      },
    ],
  ])('%s is read', async (_, document) => {
    expect(await attempt(document)).toMatchObject({ node: world.vm.vmId });
  });

  test('may bring its issuer along, or have it for a root', async () => {
    const { leaf, issuing } = world.signers;
    const certificates = [leaf.certificate.der, issuing.certificate.der];
    await attempt(spoilt({ message: { certificates } }), { intermediates: [] });
    await attempt(spoilt({}), { roots: ['issuing.pem'], intermediates: [] });
  });

  test('of a region has a name below the service’s', async () => {
    expect(await signedAs(['West.Metadata.Azure.com'])).toMatchObject({ node: world.vm.vmId });
  });
});

describe('C20 the signer, whatever other certificates are there', () => {
  const forged = (): Made => world.signers.certify(['metadata.azure.com'], { issuer: otherCa });
  test('a genuine certificate first, and another one that signed', async () => {
    const by = forged();
    const { leaf, issuing } = world.signers;
    const certificates = [leaf, issuing, by].map(({ certificate }) => certificate.der);
    await expectRefusal(
      attempt(spoilt({ by, message: { certificates } })),
      U('signer', /signed: .* not end at a trusted root/),
    );
  });

  test('the genuine certificate is named, and another key signed', async () => {
    await expectRefusal(attempt(spoilt({ signer: { key: rsaKey() } })), U('sig_invalid', /does not verify/));
  });

  test('two certificates have the genuine one’s name and number', async () => {
    const { leaf } = world.signers;
    const { serial, issuer } = leaf.certificate;
    const by = world.signers.certify(['metadata.azure.com'], { issuer: otherCa, serial });
    expect(Buffer.from(by.certificate.issuer)).toEqual(Buffer.from(issuer));
    const certificates = [leaf.certificate.der, by.certificate.der];
    await expectRefusal(
      attempt(spoilt({ by, message: { certificates } })),
      U('signer', /two certificates match the issuer and serial number/),
    );
    await expectRefusal(attempt(spoilt({ by })), U('signer', /signed: .* not end at a trusted root/));
  });

  test('an authority of Azure’s signed itself', async () => {
    const signer = { digestOid: OID.sha256, signatureOid: OID.sha256Ecdsa };
    await expectRefusal(
      attempt(spoilt({ by: world.signers.issuing, signer })),
      U('signer', /signed: the certificate is not for 1\.3\.6\.1\.5\.5\.7\.3\.1/),
    );
  });

  test.each<[string, () => LeafRecipe, RegExp]>([
    [
      'no server’s',
      () => ({ extensions: { purposes: undefined } }),
      /signed: the certificate is not for 1\.3\.6\.1\.5\.5\.7\.3\.1/,
    ],
    [
      'a client’s',
      () => ({ extensions: { purposes: x509.extKeyUsage(x509.EKU.clientAuth) } }),
      /is not for 1\.3/,
    ],
    [
      'whose key only enciphers',
      () => ({ extensions: { usage: x509.keyUsage(2) } }),
      /its key is not for signatures/,
    ],
    [
      'that does not say what its key is for',
      () => ({ extensions: { usage: undefined } }),
      /not for signatures/,
    ],
    ['that has expired', () => ({ notAfter: secondsOn(-60) }), /signed: a certificate expired/],
    ['of tomorrow', () => ({ notBefore: secondsOn(60) }), /signed: a certificate is not valid before/],
    ['with a short key', () => ({ key: rsaKey(1024) }), /RSA key has 1024 bits/],
  ])('a certificate %s', async (_, recipe, says) => {
    await expectRefusal(signedAs(['metadata.azure.com'], recipe()), U('signer', says));
  });

  test('no root of ours', async () => {
    world.files.set('other.pem', writePem('CERTIFICATE', otherCa.certificate.der));
    const config = { roots: ['other.pem'], intermediates: [] };
    await expectRefusal(attempt(spoilt({}), config), U('signer', /signed: .* not end at a trusted root/));
  });
});

describe('C21 how many signers, and of what name', () => {
  const info = (nonce: string, by: Made = world.signers.leaf) =>
    signerInfo({ content: contentFor(nonce), ...by });
  const rows: readonly [string, (nonce: string) => Uint8Array, Expected][] = [
    [
      'two signers',
      (nonce) => spoilt({ message: { signers: [info(nonce), info(nonce)] } })(nonce),
      U('signer', /more than one signer/),
    ],
    ['no signer', spoilt({ message: { signers: [] } }), U('signer', /no signer/)],
    ['no certificates', spoilt({ message: { certificates: [] } }), U('signer', /is not in the document/)],
    [
      'no list of certificates',
      (nonce) => {
        const content = contentFor(nonce);
        return signedData({ content, signers: [info(nonce)] });
      },
      U('signer', /is not in the document/),
    ],
  ];
  test.each(rows)('%s', async (_, document, expected) => {
    await expectRefusal(attempt(document), expected);
  });

  test.each([
    ['evilmetadata.azure.com'],
    ['metadata.azure.com.evil.example'],
    ['metadata.azure.us'],
    ['management.azure.com'],
    ['azure.com'],
  ])('the name %s', async (name) => {
    await expectRefusal(
      signedAs([name]),
      U('azure_san', new RegExp(`signed by ${name}, not metadata\\.azure\\.com`)),
    );
  });

  test('the name in the subject only, or in a URI', async () => {
    const uris = ['https://metadata.azure.com/'];
    const names = x509.subjectAltName({ uris, critical: false });
    for (const extension of [undefined, names])
      await expectRefusal(
        signedAs(['metadata.azure.com'], { extensions: { names: extension } }),
        U('azure_san', /signed by a certificate without DNS names/),
      );
  });

  test('another cloud’s name is right in that cloud', async () => {
    const by = world.signers.certify(['usgovvirginia.metadata.azure.us']);
    expect(await attempt(spoilt({ by }), { cloud: 'usgov' })).toMatchObject({ node: world.vm.vmId });
  });
});

describe('C22 where a certificate says that its issuer’s is', () => {
  test.each([
    ['the metadata service', () => 'http://169.254.169.254/metadata/identity/oauth2/token'],
    ['a file', () => 'file:///etc/passwd'],
    ['a redirect', (url: string) => `${url}/redirect`],
  ])('%s: nobody is called, and the path ends', async (_, address) => {
    const trap = await serve(() => ({ status: 302, headers: { location: 'http://127.0.0.1:1/' } }));
    const by = world.signers.certify(['metadata.azure.com'], {
      extensions: { issuers: caIssuers(address(trap.url)) },
    });
    const before = world.called.length;
    try {
      await expectRefusal(
        attempt(spoilt({ by }), { intermediates: [] }),
        U('signer', /does not end at a trusted root/),
      );
      expect(world.called.length, 'nothing was asked of anybody').toBe(before);
      expect(trap.received).toEqual([]);
    } finally {
      await trap.close();
    }
  });
});

describe('how it is signed', () => {
  const withAttributes = (attributes: (content: Uint8Array) => readonly Uint8Array[]) => (nonce: string) =>
    spoilt({ signer: { attributes: attributes(contentFor(nonce)) } })(nonce);
  const [type, digest] = [
    attribute(OID.contentType, der.oid(OID.data)),
    (content: Uint8Array) => attributesFor(content)[1] ?? new Uint8Array(),
  ];
  const rows: readonly [string, (nonce: string) => Uint8Array, Expected][] = [
    [
      'SHA-1',
      spoilt({ signer: { digestOid: OID.sha1, digest: 'sha1' } }),
      U('sig_alg', /1\.3\.14\.3\.2\.26 is not/),
    ],
    [
      'RSA with SHA-1, under a good digest',
      spoilt({ signer: { signatureOid: OID.sha1Rsa, digest: 'sha1' } }),
      U('sig_alg', /1\.2\.840\.113549\.1\.1\.5 is not read/),
    ],
    ['RSA-PSS', spoilt({ signer: { signatureOid: OID.rsaPss } }), U('sig_alg', /1\.1\.10 is not read/)],
    [
      'one digest named, another used',
      spoilt({ signer: { digestOid: OID.sha384, signatureOid: OID.sha256Rsa } }),
      U('sig_alg', /1\.1\.11 is not read with sha384/),
    ],
    [
      'attributes for another content',
      withAttributes(() => attributesFor(Buffer.from('{}'))),
      U('sig_invalid', /for another content/),
    ],
    [
      'attributes for content of another type',
      withAttributes((content) => [attribute(OID.contentType, der.oid(OID.signedData)), digest(content)]),
      U('sig_invalid', /for content of type 1\.2\.840\.113549\.1\.7\.2/),
    ],
    [
      'attributes that another content was put beside',
      (nonce) => {
        const content = contentFor(nonce.replace(/^./, '0'));
        const attributes = attributesFor(content);
        return spoilt({ signer: { content, attributes } })(nonce);
      },
      U('sig_invalid', /for another content/),
    ],
    ['no digest in the attributes', withAttributes(() => [type]), I('evidence_parse', /no message digest/)],
    [
      'no type in the attributes',
      withAttributes((content) => [digest(content)]),
      I('evidence_parse', /no content type/),
    ],
    [
      'an attribute twice',
      withAttributes((content) => [type, digest(content), digest(content)]),
      I('evidence_parse', /1\.9\.4 is there twice/),
    ],
    [
      'two values of an attribute',
      withAttributes((content) => [
        attribute(OID.contentType, der.oid(OID.data), der.oid(OID.data)),
        digest(content),
      ]),
      I('evidence_parse', /content type has .* trailing/),
    ],
    [
      '17 attributes',
      withAttributes(() => Array.from({ length: 17 }, (_, i) => attribute(`1.2.3.${i}`, der.set()))),
      I('evidence_parse', /more than 16/),
    ],
    [
      'attributes that play the content (RFC 5652 has no defence)',
      (nonce) => {
        const content = der.set(...attributesFor(contentFor(nonce)));
        return spoilt({ message: { content }, signer: { content } })(nonce);
      },
      I('evidence_parse', /JSON|value/),
    ],
  ];
  test.each(rows)('%s', async (_, document, expected) => {
    await expectRefusal(attempt(document), expected);
  });
});

describe('its shape', () => {
  const genuine = spoilt({});
  const nine = () => Array.from({ length: 9 }, () => world.signers.issuing.certificate.der);
  const rows: readonly [string, (nonce: string) => Uint8Array, RegExp][] = [
    ['nothing', () => new Uint8Array(), /CMS is missing/],
    ['a trailing byte', (nonce) => Buffer.concat([genuine(nonce), Buffer.of(0)]), /CMS has 1 trailing bytes/],
    ['PEM', (nonce) => Buffer.from(writePem('CMS', genuine(nonce))), /CMS has tag 0x2d/],
    ['enveloped data', spoilt({ message: { type: '1.2.840.113549.1.7.3' } }), /not signedData/],
    ['content of another type', spoilt({ message: { contentType: OID.signedData } }), /not data/],
    ['content that is elsewhere', spoilt({ message: { content: undefined } }), /content is missing/],
    ['another version', spoilt({ message: { version: 3 } }), /version 3, 1 is read/],
    ['a signer by key identifier', spoilt({ signer: { version: 3 } }), /signer info has version 3/],
    [
      'unsigned attributes',
      spoilt({ signer: { more: der.tlv(0xa1, attribute(OID.contentType)) } }),
      /trailing/,
    ],
    [
      'lists of revoked certificates',
      spoilt({ message: { crls: der.tlv(0xa1) } }),
      /signer infos has tag 0xa1/,
    ],
    ['nine certificates', (nonce) => spoilt({ message: { certificates: nine() } })(nonce), /more than 8/],
    [
      'something that is not a certificate',
      spoilt({ message: { certificates: [der.sequence()] } }),
      /^a certificate of the document/,
    ],
    [
      'an attribute certificate',
      spoilt({ message: { certificates: [der.tlv(0xa2)] } }),
      /certificate has tag 0xa2/,
    ],
    [
      'parameters of a digest',
      (nonce) => {
        const content = contentFor(nonce);
        return spoilt({ message: { signers: [bentParameters(content)] } })(nonce);
      },
      /parameters of the digest algorithm/,
    ],
    ['33 kB', () => Buffer.alloc(33 * 1024), /document is 33792 bytes/],
  ];
  test.each(rows)('%s', async (_, document, says) => {
    await expectRefusal(attempt(document), I('evidence_parse', says));
  });

  const bentParameters = (content: Uint8Array): Uint8Array => {
    const whole = Buffer.from(signerInfo({ content, ...world.signers.leaf }));
    const at = whole.indexOf(algorithm(OID.sha256Rsa));
    whole[at + algorithm(OID.sha256Rsa).length - 2] = 0x04;
    return whole;
  };

  test('any bytes at all are refused as evidence is', async () => {
    const spread = seeded(20);
    const document = Buffer.from(documentFor(world, { nonce: '1234567890' }));
    for (let round = 0; round < 1500; round += 1) {
      const bent = Buffer.from(document);
      for (let times = 0; times <= spread.int(3); times += 1) bent[spread.int(bent.length)] = spread.int(256);
      const cut = round % 3 === 0 ? bent.subarray(0, spread.int(bent.length)) : bent;
      const error: unknown = await attempt(() => cut).then(
        () => undefined,
        (thrown) => thrown,
      );
      expect(isRefusal(error), `round ${round}: ${String(error)}`).toBe(true);
    }
  });
});

describe('C23 what it says', () => {
  const says = (changes: Partial<DocumentRecipe>) => (nonce: string) =>
    documentFor(world, { nonce, ...changes });
  const times = (createdOn: string, expiresOn: string) =>
    says({ changes: { timeStamp: { createdOn, expiresOn } } });
  const rows: readonly [string, () => (nonce: string) => Uint8Array, Expected][] = [
    [
      'the nonce of another session',
      () => says({ nonce: '1234567890' }),
      U('nonce_mismatch', /another nonce/),
    ],
    ['no nonce', () => says({ changes: { nonce: undefined } }), I('evidence_parse', /no nonce/)],
    [
      'a nonce that is a number',
      () => says({ changes: { nonce: 1234567890 } }),
      I('evidence_parse', /no nonce/),
    ],
    ['no time', () => says({ changes: { timeStamp: undefined } }), I('evidence_parse', /no timeStamp/)],
    [
      'made six minutes ago',
      () => times(stamp(secondsOn(-360)), stamp(secondsOn(3600))),
      U('azure_document', /more than 300 s ago/),
    ],
    [
      'made in a minute',
      () => times(stamp(secondsOn(60)), stamp(secondsOn(3600))),
      U('azure_document', /later than now/),
    ],
    [
      'over since a minute',
      () => times(stamp(secondsOn(-90)), stamp(secondsOn(-60))),
      U('azure_document', /expired/),
    ],
    [
      'a time as others write it',
      () => times(secondsOn(0).toISOString(), stamp(secondsOn(60))),
      I('evidence_parse', /createdOn is not a time/),
    ],
    [
      'a month that is none',
      () => times('13/01/26 00:00:00 -0000', stamp(secondsOn(60))),
      I('evidence_parse', /createdOn is not a time/),
    ],
    [
      'a day that is none',
      () => times('02/30/26 00:00:00 -0000', stamp(secondsOn(60))),
      I('evidence_parse', /createdOn is not a time/),
    ],
    ['no VM', () => says({ changes: { vmId: '' } }), I('evidence_parse', /vmId is not a UUID/)],
    [
      'no subscription',
      () => says({ changes: { subscriptionId: undefined } }),
      I('evidence_parse', /subscriptionId is not a UUID/),
    ],
    [
      'a VM twice',
      () => (nonce: string) => documentFor(world, { nonce, text: twice(nonce) }),
      I('evidence_parse', /the same key twice/),
    ],
    ['no JSON', () => says({ text: '<xml/>' }), I('evidence_parse', /a value is expected/)],
    ['a list', () => says({ text: '[]' }), I('evidence_parse', /not a JSON object/)],
  ];
  const twice = (nonce: string): string =>
    JSON.stringify(contentOf(world.vm, nonce, world.clock.now())).replace(/}$/, ',"vmId":"x"}');
  test.each(rows)('%s', async (_, document, expected) => {
    await expectRefusal(attempt(document()), expected);
  });
});

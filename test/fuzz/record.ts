/**
 * Writes vectors/recorded.json: genuine inputs with keys and signatures in them, recorded once, so that a seed gives
 * the same run everywhere. The keys are for these tests and nothing else. `node test/fuzz/record.ts`.
 */
import type { KeyObject } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import * as der from '@chancery/shared/der/write.ts';
import { nonceOf } from '@chancery/shared/evidence/azure.ts';
import { base64, utf8 } from '@chancery/shared/ground/bytes.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { commonName } from '@chancery/shared/x509/compose/tbs.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import * as x509 from '@chancery/shared/x509/extensions.ts';
import { NAME } from '@chancery/shared/x509/names.ts';
import { attributesFor, signedData, signerInfo } from '../kit/azure/cms.ts';
import { makeDocumentSigners } from '../kit/azure/signers.ts';
import { extension, makeAuthority, makeLeaf, NOW, uriConstraint } from '../kit/certificates.ts';
import { publicJwk, signingKey } from '../kit/oidc/jws.ts';
import { RECORDED } from './recorded.ts';
import { BINDING } from './targets/world.ts';

const pkcs8 = (key: KeyObject): Uint8Array => key.export({ type: 'pkcs8', format: 'der' });

const root = makeAuthority('root');
const intermediate = makeAuthority('intermediate', root, {
  extensions: { pathLength: undefined, names: uriConstraint('prod.example') },
});
const leaf = makeLeaf('spiffe://prod.example/billing', intermediate);
const named = makeLeaf('spiffe://prod.example/web', intermediate, {
  fields: { subject: commonName('web') },
  extensions: {
    names: x509.subjectAltName({
      uris: ['spiffe://prod.example/web'],
      dnsNames: ['web.prod.example', '*.prod.example'],
      critical: false,
    }),
  },
});
const subtree = (kind: number, text: string): Uint8Array => der.sequence(der.implicit(kind, utf8(text)));
const constrained = makeAuthority('constrained', root, {
  extensions: {
    names: extension(
      x509.OID.nameConstraints,
      true,
      der.sequence(
        der.explicit(0, subtree(NAME.uri, '.example'), subtree(NAME.dns, 'example')),
        der.explicit(1, subtree(NAME.email, 'evil.example'), subtree(NAME.dns, 'evil.example')),
      ),
    ),
  },
});

const signers = makeDocumentSigners(NOW);
const content = utf8(
  JSON.stringify({
    licenseType: '',
    nonce: nonceOf(BINDING),
    plan: { name: '', product: '', publisher: '' },
    sku: '22_04-lts',
    subscriptionId: '0b1f6471-1bf0-4dda-aec3-cb9272f09590',
    timeStamp: { createdOn: '06/01/26 11:59:50 -0000', expiresOn: '06/01/26 17:59:50 -0000' },
    vmId: '6f1a55a9-6f6c-4f0f-8f43-2c9d8a3f8b9d',
  }),
);
const certificates = [signers.leaf.certificate.der, signers.issuing.certificate.der];
const document = { content, certificates };
const withAttributes = signerInfo({ content, ...signers.leaf, attributes: attributesFor(content) });

const jwt = signingKey('es256', 'ES256');
const jwtRsa = signingKey('rs256', 'RS256');
const recorded: Record<string, Uint8Array> = {
  root: root.certificate.der,
  rootKey: pkcs8(root.key),
  intermediate: intermediate.certificate.der,
  intermediateKey: pkcs8(intermediate.key),
  leaf: leaf.certificate.der,
  leafKey: pkcs8(leaf.key),
  named: named.certificate.der,
  constrained: constrained.certificate.der,
  csr: await writeCsr(signerOf(generateKey())),
  documentRoot: signers.root.certificate.der,
  document: signedData({ ...document, signers: [signerInfo({ content, ...signers.leaf })] }),
  documentWithAttributes: signedData({ ...document, signers: [withAttributes] }),
  documentContent: content,
  jwtKey: pkcs8(jwt.privateKey),
  jwtRsaKey: pkcs8(jwtRsa.privateKey),
  jwks: utf8(JSON.stringify({ keys: [publicJwk(jwt), publicJwk(jwtRsa)] })),
};
const texts = Object.fromEntries(Object.entries(recorded).map(([name, bytes]) => [name, base64(bytes)]));
writeFileSync(RECORDED, `${JSON.stringify(texts, null, 2)}\n`);

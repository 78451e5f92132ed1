/** DER and what is made of it: elements, certificates, requests, chains. */
import { type KeyObject, sign } from 'node:crypto';
import { DerReader, TAG } from '@chancery/shared/der/read.ts';
import { ensureDer } from '@chancery/shared/der/walk.ts';
import * as der from '@chancery/shared/der/write.ts';
import { concat, utf8 } from '@chancery/shared/ground/bytes.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { attestedExtension, readAttested } from '@chancery/shared/x509/attested.ts';
import { type Certificate, parseCertificate, publicKeyOf } from '@chancery/shared/x509/certificate.ts';
import { assembleCertificate } from '@chancery/shared/x509/compose/tbs.ts';
import { verifyCsr } from '@chancery/shared/x509/csr.ts';
import * as x509 from '@chancery/shared/x509/extensions.ts';
import { NAME, readName } from '@chancery/shared/x509/names.ts';
import {
  ensureWellFormed,
  namesOf,
  readNameConstraints,
} from '@chancery/shared/x509/verify/name-constraints.ts';
import { readSvid, verifySvid } from '@chancery/shared/x509/verify/svid.ts';
import { extension, NOW } from '../../kit/certificates.ts';
import { law, type Target } from '../engine.ts';
import { recorded, recordedKey, tpmVector } from '../recorded.ts';

const certificates = (): readonly Uint8Array[] => [
  ...['leaf', 'named', 'constrained', 'intermediate', 'root', 'documentRoot'].map(recorded),
  tpmVector('good-endorsement-p384').bytes('certificate'),
];

const elements: Target = {
  name: 'der',
  says: 'DER elements, read by their types and written again',
  shape: 'der',
  open: () => ({
    seeds: [...certificates(), recorded('csr'), recorded('document')],
    run: (input) => {
      ensureDer(input, 'der', 'it');
      return rewritten(new DerReader(input, 'der'));
    },
  }),
};

/** Each value by its type, with the writer of that type. */
function rewritten(from: DerReader): Uint8Array {
  const { tag = 0 } = from;
  if ((tag & 0x20) !== 0) {
    const inner = from.enter(tag, 'it');
    const items: Uint8Array[] = [];
    while (inner.tag !== undefined) items.push(rewritten(inner));
    return der.tlv(tag, ...items);
  }
  if (tag === TAG.boolean) return der.boolean(from.boolean('it'));
  if (tag === TAG.oid) return der.oid(from.oid('it'));
  if (tag === TAG.utcTime || tag === TAG.generalizedTime) return writtenTime(from.time('it'));
  if (tag !== TAG.bitString) return der.tlv(tag, from.content(tag, 'it'));
  const { bytes, unused } = from.bitString('it');
  return der.tlv(tag, Uint8Array.of(unused), bytes);
}

/** Two digits a field (RFC 5280 §4.1.2.5): there is no year after 9999. */
function writtenTime(time: Date): Uint8Array {
  law(time.getUTCFullYear() <= 9999, `a time is read as ${time.toISOString()}`);
  return der.time(time);
}

const WRITTEN_FALSE = Uint8Array.of(TAG.boolean, 1, 0);

const certificate: Target = {
  name: 'certificate',
  says: 'certificates, with all that is read of their extensions',
  shape: 'der',
  open: () => ({
    seeds: certificates(),
    run: (input) => {
      const parsed = parseCertificate(input);
      const written = assembled(parsed);
      readAll(parsed);
      // A criticality of FALSE that is written out, which DER leaves out, is read all the same.
      const lenient = written.length !== input.length && Buffer.from(input).includes(WRITTEN_FALSE);
      return lenient ? undefined : written;
    },
  }),
};

function assembled(parsed: Certificate): Uint8Array {
  const extensions = [...parsed.extensions].map(([id, { critical, value }]) =>
    extension(id, critical, value),
  );
  const tbs = der.sequence(
    der.explicit(0, der.smallInteger(2)),
    der.tlv(TAG.integer, parsed.serial),
    parsed.signatureAlgorithm,
    parsed.issuer,
    der.sequence(writtenTime(parsed.notBefore), writtenTime(parsed.notAfter)),
    parsed.subject,
    parsed.spki,
    der.explicit(3, der.sequence(...extensions)),
  );
  return der.sequence(tbs, parsed.signatureAlgorithm, der.bitBytes(parsed.signature));
}

/** All readers, whatever the ones before refuse; the first refusal is what the certificate is refused for. */
function readAll(parsed: Certificate): void {
  const readers: readonly ((parsed: Certificate) => unknown)[] = [
    (each) => x509.readBasicConstraints(each, 'chain'),
    (each) => x509.readKeyUsage(each, 'chain'),
    (each) => x509.readExtKeyUsage(each, 'chain'),
    (each) => x509.readSubjectAltName(each, 'chain'),
    (each) => x509.readSubjectKeyIdentifier(each, 'chain'),
    (each) => x509.readAuthorityKeyIdentifier(each, 'chain'),
    (each) => readNameConstraints(each, 'chain'),
    (each) => ensureWellFormed(namesOf(each, 'chain'), 'chain'),
    (each) => [readName(each.subject, 'chain'), readName(each.issuer, 'chain')],
    publicKeyOf,
  ];
  const refusals = readers.flatMap((read) => refusalOf(() => read(parsed)));
  // Only a leaf is an SVID.
  refusalOf(() => readSvid(parsed));
  if (refusals[0] !== undefined) throw refusals[0];
}

function refusalOf(read: () => unknown): readonly unknown[] {
  try {
    read();
    return [];
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return [error];
  }
}

const csr: Target = {
  name: 'csr',
  says: 'PKCS #10 requests',
  shape: 'der',
  maxBytes: 16 * 1024,
  open: () => ({
    seeds: [recorded('csr')],
    run: (input) => {
      const { spki } = verifyCsr(input);
      law(Buffer.from(input).includes(spki), 'the proven key is not in the request');
      return undefined;
    },
  }),
};

const TRUST_DOMAIN = parseTrustDomain('prod.example');
const bundle = () => ({ trustDomain: TRUST_DOMAIN, authorities: [recorded('root')], sequence: 1n });

const chain: Target = {
  name: 'chain',
  says: 'chains as TLS shows them: certificates that nobody of ours signed',
  shape: 'der',
  open: () => {
    const trusted = bundle();
    return {
      seeds: [
        concat(recorded('leaf'), recorded('intermediate')),
        concat(recorded('named'), recorded('intermediate')),
      ],
      run: (input) => {
        verifySvid(cut(input), trusted, NOW);
        return undefined;
      },
    };
  },
};

/** Signed after the change, so that what is behind the signature is reached too. */
const signedChain: Target = {
  name: 'signed-chain',
  says: 'chains whose certificates were signed with whatever is in them',
  shape: 'der',
  open: () => {
    const trusted = bundle();
    const [root, intermediate] = [recordedKey('rootKey'), recordedKey('intermediateKey')];
    const [leaf, named, above] = ['leaf', 'named', 'intermediate'].map((name) => tbsOf(recorded(name)));
    const tbs = (bytes: Uint8Array | undefined): Uint8Array => bytes ?? new Uint8Array();
    return {
      seeds: [
        concat(tbs(leaf), tbs(above)),
        concat(tbs(named), tbs(above)),
        concat(withNames(tbs(leaf), 300), withConstraints(tbs(above), 100)),
      ],
      run: (input) => {
        const certificates = cut(input).map((each, at) => signedBy(each, at === 0 ? intermediate : root));
        verifySvid(certificates, trusted, NOW);
        return undefined;
      },
    };
  },
};

const signedBy = (tbs: Uint8Array, key: KeyObject): Uint8Array =>
  assembleCertificate(tbs, 'ecdsa-p256', sign('sha256', tbs, key));

const tbsOf = (certificate: Uint8Array): Uint8Array => parseCertificate(certificate).tbs;

/** As certificates of large web hosts have them. */
const withNames = (tbs: Uint8Array, count: number): Uint8Array =>
  replaced(tbs, x509.OID.subjectAltName, [
    der.implicit(NAME.uri, utf8('spiffe://prod.example/billing')),
    ...Array.from({ length: count }, (_, n) => der.implicit(NAME.dns, utf8(`host-${n}.prod.example`))),
  ]);

/** As authorities of a company have them. */
const withConstraints = (tbs: Uint8Array, count: number): Uint8Array =>
  replaced(tbs, x509.OID.nameConstraints, [
    der.explicit(
      0,
      der.sequence(der.implicit(NAME.uri, utf8('prod.example'))),
      ...Array.from({ length: count }, (_, n) =>
        der.sequence(der.implicit(NAME.dns, utf8(`zone-${n}.example`))),
      ),
      der.sequence(der.implicit(NAME.dns, utf8('prod.example'))),
    ),
  ]);

function replaced(tbs: Uint8Array, id: string, content: readonly Uint8Array[]): Uint8Array {
  const outer = new DerReader(tbs, 'der').sequence('tbs');
  const before: Uint8Array[] = [];
  while (outer.tag !== 0xa3 && outer.tag !== undefined) before.push(outer.element(outer.tag, 'field'));
  const list = outer.enter(0xa3, 'extensions').sequence('extensions');
  const extensions: Uint8Array[] = [];
  while (list.tag !== undefined) extensions.push(list.element(TAG.sequence, 'extension'));
  const others = extensions.filter((each) => !Buffer.from(each).includes(der.oid(id)));
  const changed = extension(id, true, der.sequence(...content));
  return der.sequence(...before, der.explicit(3, der.sequence(...others, changed)));
}

/** The elements that stand in a row. */
function cut(input: Uint8Array): readonly Uint8Array[] {
  const reader = new DerReader(input, 'certificate_parse');
  const found: Uint8Array[] = [];
  while (reader.tag !== undefined) found.push(reader.element(TAG.sequence, 'certificate'));
  return found;
}

const attested: Target = {
  name: 'attested',
  says: 'what leaves say of workloads: refused, or read and written again',
  shape: 'der',
  maxBytes: 16 * 1024,
  open: () => ({
    seeds: [
      { platform: 'aws', attributes: new Map([['aws.account', '42']]) },
      {
        platform: 'aws+kubernetes/eu-1',
        attributes: new Map([
          ['kubernetes.namespace', 'prod'],
          ['aws.arn', 'arn:aws:iam::42:role/é=x'],
        ]),
      },
    ].map((each) => contentOf(attestedExtension(each))),
    run: (value) => {
      const id = x509.OID.subjectDirectoryAttributes;
      const read = readAttested({ extensions: new Map([[id, { critical: false, value }]]) }, 'svid');
      return contentOf(attestedExtension(read));
    },
  }),
};

/** What the OCTET STRING of an extension that is not critical holds. */
function contentOf(whole: Uint8Array): Uint8Array {
  const fields = new DerReader(whole, 'der').sequence('extension');
  fields.oid('type');
  return fields.octets('value');
}

export const DER: readonly Target[] = [elements, certificate, csr, attested, chain, signedChain];

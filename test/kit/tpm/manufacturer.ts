/** A TPM manufacturer's CA that also makes certificates that no manufacturer would. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { writePem } from '@chancery/shared/der/pem.ts';
import { boolean, explicit, octets, oid, sequence, set, utf8String } from '@chancery/shared/der/write.ts';
import { spkiOf } from '@chancery/shared/keys/key.ts';
import { assembleCertificate, commonName, writeTbs } from '@chancery/shared/x509/compose/tbs.ts';
import {
  authorityKeyIdentifier,
  basicConstraints,
  extKeyUsage,
  keyIdentifierOf,
  keyUsage,
  subjectKeyIdentifier,
} from '@chancery/shared/x509/extensions.ts';

export interface EkFields {
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly purposes: readonly string[];
  /** Whole Extensions in place of the genuine SAN; none leaves it out. */
  readonly names: readonly Uint8Array[];
  readonly ca: boolean;
  /** Named bits of the key usage; a leaf has none unless a test says so. */
  readonly usage: readonly number[];
  /** More Extensions. */
  readonly more: readonly Uint8Array[];
  /** Who signs; the root unless a test says otherwise. */
  readonly issuer: Issuer;
}

export interface Issuer {
  readonly name: string;
  readonly key: KeyObject;
}

export interface Manufacturer {
  readonly root: Issuer;
  /** PEM. */
  readonly rootPem: string;
  /** An EK certificate, DER. */
  certify(spki: Uint8Array, fields?: Partial<EkFields>): Uint8Array;
}

export const EK_PURPOSE = '2.23.133.8.1';
/** RFC 5280, 4.1.2.5: no end. */
export const NO_END = new Date('9999-12-31T23:59:59Z');
const LONG_AGO = new Date('2020-01-01T00:00:00Z');

const GENUINE: readonly (readonly [string, string])[] = [
  ['2.23.133.2.1', 'id:00001014'],
  ['2.23.133.2.2', 'fake'],
  ['2.23.133.2.3', 'id:1'],
];

/** The SAN of an EK certificate: a directory name of these attributes, critical. */
export function tpmNames(attributes: readonly (readonly [string, string])[]): Uint8Array {
  const pairs = attributes.map(([type, value]) => set(sequence(oid(type), utf8String(value))));
  return sequence(oid('2.5.29.17'), boolean(true), octets(sequence(explicit(4, sequence(...pairs)))));
}

/** With something after each value. */
export function tpmNamesOverlong(): Uint8Array {
  const pairs = GENUINE.map(([type, value]) => set(sequence(oid(type), utf8String(value), boolean(true))));
  return sequence(oid('2.5.29.17'), boolean(true), octets(sequence(explicit(4, sequence(...pairs)))));
}

export const tpmNamesWithout = (oid: string): Uint8Array =>
  tpmNames(GENUINE.filter(([type]) => type !== oid));
export const tpmNamesWith = (oid: string, value: string): Uint8Array => tpmNames([...GENUINE, [oid, value]]);

export function makeManufacturer(): Manufacturer {
  const key = newKey();
  const root = { name: 'Fake TPM root', key };
  const authority = { ca: true, purposes: [], names: [], issuer: root };
  return {
    root,
    rootPem: writePem('CERTIFICATE', write(spkiOf(key), root.name, authority)),
    certify: (spki, fields) => write(spki, 'EK', { issuer: root, ...fields }),
  };
}

export const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

function write(
  spki: Uint8Array,
  subject: string,
  fields: Partial<EkFields> & Pick<EkFields, 'issuer'>,
): Uint8Array {
  const {
    notBefore = LONG_AGO,
    notAfter = NO_END,
    purposes = [EK_PURPOSE],
    names = [tpmNames(GENUINE)],
  } = fields;
  const { issuer, ca = false, more = [] } = fields;
  const { usage = ca ? [5] : [] } = fields;
  const tbs = writeTbs(
    {
      serial: Uint8Array.of(1, ...spki.subarray(-8)),
      issuer: commonName(issuer.name),
      subject: commonName(subject),
      notBefore,
      notAfter,
      spki,
      extensions: [
        basicConstraints(ca ? { pathLength: undefined } : undefined),
        ...(usage.length > 0 ? [keyUsage(...usage)] : []),
        ...(ca ? [subjectKeyIdentifier(keyIdentifierOf(spki, 'internal'))] : []),
        authorityKeyIdentifier(keyIdentifierOf(spkiOf(issuer.key), 'internal')),
        ...(purposes.length > 0 ? [extKeyUsage(...purposes)] : []),
        ...names,
        ...more,
      ],
    },
    'ecdsa-p256',
  );
  return assembleCertificate(tbs, 'ecdsa-p256', sign('sha256', tbs, issuer.key));
}

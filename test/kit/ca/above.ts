/** A corporate CA, made in this process: a root, an intermediate, and what they certify of a root of ours. */
import { writePem } from '@chancery/shared/der/pem.ts';
import * as der from '@chancery/shared/der/write.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import * as x509 from '@chancery/shared/x509/extensions.ts';
import { NAME } from '@chancery/shared/x509/names.ts';
import { extension, type Made, makeAuthority, type Recipe } from '../certificates.ts';

export const corporateRoot = makeAuthority('Corporate root');
export const corporate = makeAuthority('Corporate intermediate', corporateRoot);

/** A certificate for the name and the key of `root`, as a CA gives that copies the extensions of the request. */
export function crossOf(root: Certificate, issuer: Made = corporate, recipe: Recipe = {}): Certificate {
  const { subject, spki } = root;
  const made = makeAuthority('ours', issuer, {
    ...recipe,
    extensions: {
      constraints: x509.basicConstraints({ pathLength: 1 }),
      keyId: x509.subjectKeyIdentifier(x509.keyIdentifierOf(spki, 'der')),
      ...recipe.extensions,
    },
    fields: { subject, spki, ...recipe.fields },
  });
  return made.certificate;
}

/** Name constraints of one kind (RFC 5280 section 4.2.1.10); `excluded` instead of permitted. */
export function nameConstraint(kind: 'uri' | 'dns', value: string, excluded = false): Uint8Array {
  const subtree = der.sequence(der.implicit(NAME[kind], utf8(value)));
  return extension(x509.OID.nameConstraints, true, der.sequence(der.explicit(excluded ? 1 : 0, subtree)));
}

/** Permits only directory names below this one. */
export function directoryConstraint(name: Uint8Array): Uint8Array {
  const subtree = der.sequence(der.explicit(NAME.directory, name));
  return extension(x509.OID.nameConstraints, true, der.sequence(der.explicit(0, subtree)));
}

/** As people carry them. */
export const chainFile = (...chain: readonly Certificate[]): Uint8Array =>
  utf8(chain.map(({ der: bytes }) => writePem('CERTIFICATE', bytes)).join(''));

/** The certificate with one bit of its signature the other way. */
export function bent({ der: bytes }: Certificate): Certificate {
  const other = Buffer.from(bytes);
  other.writeUInt8((other.at(-1) ?? 0) ^ 1, other.length - 1);
  return parseCertificate(other);
}

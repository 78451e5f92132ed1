/** Names of certificates as text for a person; nothing compares them by it. */
import { X509Certificate } from 'node:crypto';
import type { Certificate } from './certificate.ts';

/** As openssl's parts, joined by commas. The caller makes it printable. */
export function nameTextOf({ der }: Pick<Certificate, 'der'>): {
  readonly subject: string;
  readonly issuer: string;
} {
  const { subject, issuer } = new X509Certificate(der);
  return { subject: oneLine(subject), issuer: oneLine(issuer) };
}

/** Undefined for an empty name. */
const oneLine = (name: string | undefined): string => (name ?? '').split('\n').join(', ');

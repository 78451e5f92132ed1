/** What another CA has certified of a root of ours, and only it can revoke. */
import { hex } from '../../ground/bytes.ts';
import { parseCertificate } from '../certificate.ts';
import { nameTextOf } from '../name-text.ts';

/** The cross-certificate of a root. */
export interface CertifiedAbove {
  readonly issuer: string;
  /** Hexadecimal. */
  readonly serial: string;
  readonly notAfter: string;
}

/**
 * Of the chain that begins with the cross-certificate, X.509 DER. Undefined for an authority without one, which no CA
 * above has certified. Throws certificate_parse.
 */
export function certifiedAbove(chain: readonly Uint8Array[] = []): CertifiedAbove | undefined {
  const [der] = chain;
  if (der === undefined) return undefined;
  const { serial, notAfter } = parseCertificate(der);
  return { issuer: nameTextOf({ der }).issuer, serial: hex(serial), notAfter: notAfter.toISOString() };
}

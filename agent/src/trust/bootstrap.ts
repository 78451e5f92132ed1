/** The first trust in the CA: a bundle file, or a pin on a root's key. Without either the agent does not start. */
import { hash } from 'node:crypto';
import { TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { readPem } from '@chancery/shared/der/pem.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { type Bundle, readBundle } from '@chancery/shared/spiffe/bundle.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { readTrustedFile } from '@chancery/shared/unix/files/trusted-file.ts';
import { inFile } from '@chancery/shared/unix/files/whole-file.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import * as grpc from '@grpc/grpc-js';
import { refusalFromCa, type Target, unverifiedTarget } from '../svid/channel.ts';
import { ensureReadable } from './accept.ts';

export interface BootstrapOptions {
  readonly trustDomain: TrustDomain;
  readonly address: string;
  readonly bundleFile: string | undefined;
  /** SHA-256 of a root's SubjectPublicKeyInfo, hexadecimal. */
  readonly pin: string | undefined;
}

/** As an agent's config has it. */
export const bootstrapOf = (settings: {
  readonly trustDomain: TrustDomain;
  readonly ca: {
    readonly address: string;
    readonly bundle?: string | undefined;
    readonly pin?: string | undefined;
  };
}): BootstrapOptions => {
  const { trustDomain, ca } = settings;
  return { trustDomain, address: ca.address, bundleFile: ca.bundle, pin: ca.pin };
};

const CALL_MS = 10_000;
const OPENING_BRACE = 0x7b;
const MAX_BUNDLE_BYTES = 1024 * 1024;
const NEXT = 'get it again by `chancery-ca bundle` at the CA';

/** Throws bootstrap, bundle, unavailable. */
export async function bootstrapBundle(options: BootstrapOptions): Promise<Bundle> {
  const { bundleFile, pin, trustDomain } = options;
  if (bundleFile !== undefined) return readBundleFile(bundleFile, trustDomain);
  ensure(pin !== undefined, 'bootstrap', 'ca: set `bundle` or `pin`, so that the agent can verify the CA');
  const offered = await fetchBundle(unverifiedTarget(options.address));
  const authorities = offered.filter((der) => isPinned(der, pin));
  ensure(
    authorities.length > 0,
    'bootstrap',
    `none of the ${offered.length} authorities at ${options.address} has the pinned key`,
  );
  return { trustDomain, authorities, sequence: 0n };
}

/** A certificate that cannot be read is not the pinned one. */
function isPinned(der: Uint8Array, pin: string): boolean {
  try {
    return hash('sha256', parseCertificate(der).spki, 'hex') === pin;
  } catch (error) {
    if (isRefusal(error)) return false;
    throw error;
  }
}

/** PEM certificates, or a SPIFFE bundle document. Throws bundle, bootstrap. */
function readBundleFile(file: string, trustDomain: TrustDomain): Bundle {
  const reading = { maxBytes: MAX_BUNDLE_BYTES, code: 'bootstrap' } as const;
  const bytes = inFile(`the bundle ${file}`, 'bootstrap', () => readTrustedFile(file, reading));
  try {
    return bundleIn(bytes, trustDomain);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new IdentityError('bundle', `the bundle ${file}: ${error.message}; ${NEXT}`, { cause: error });
  }
}

function bundleIn(bytes: Buffer, trustDomain: TrustDomain): Bundle {
  const bundle =
    bytes[0] === OPENING_BRACE
      ? readBundle(bytes, trustDomain)
      : {
          trustDomain,
          sequence: 0n,
          authorities: readPem(bytes.toString('latin1'), 'CERTIFICATE', 'bundle'),
        };
  ensure(bundle.authorities.length > 0, 'bundle', 'no authority in it');
  try {
    bundle.authorities.map(parseCertificate);
  } catch (error) {
    throw new IdentityError('bundle', 'a block is not a certificate', { cause: error });
  }
  return bundle;
}

/** Verifies nothing: the target or a pin must. Throws unavailable, message_parse. */
export function fetchBundle(target: Target): Promise<readonly Uint8Array[]> {
  const client = new TrustClient(target.address, target.credentials, target.options);
  return new Promise((resolve, reject) => {
    client.getBundle({}, new grpc.Metadata(), { deadline: Date.now() + CALL_MS }, (error, response) => {
      client.close();
      if (error) return reject(refusalFromCa(error));
      try {
        ensureReadable(response);
        resolve(response.x509Authorities);
      } catch (unreadable) {
        reject(unreadable);
      }
    });
  });
}

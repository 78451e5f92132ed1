/** An SVID whose key is made in its platform (a TPM) and stays there: a new join, with fresh evidence, each time. */
import { AttestationClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { PlatformKey } from '../evidence/evidence.ts';
import { tlsTarget } from './channel.ts';
import type { KeylessSvid } from './life.ts';
import { joinWith, type ObtainRequest } from './obtain.ts';

/** An X.509-SVID whose private key is in its platform. */
export interface PlatformSvid extends KeylessSvid {
  readonly key: PlatformKey;
}

/**
 * Node's TLS cannot use such a key, so the CA is shown no certificate. Throws config if the platform keeps no keys,
 * and what a join throws.
 */
export async function obtainPlatformSvid(address: string, request: ObtainRequest): Promise<PlatformSvid> {
  const { evidence, bundle, clock } = request;
  const key = await evidence.createKey?.();
  if (key === undefined) throw new IdentityError('config', `${evidence.platform} keeps no keys`);
  const target = tlsTarget(address, bundle, undefined, clock);
  const client = new AttestationClient(target.address, target.credentials, target.options);
  try {
    return { ...(await joinWith(client, key, request)), key };
  } finally {
    client.close();
  }
}

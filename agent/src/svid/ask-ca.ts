/** Asks the CA for an SVID, at its TLS port or its socket. */
import { AttestationClient, IdentityClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { isLocal } from '../evidence/several.ts';
import { isRefusedCertificate, type Judge, type Target, tlsTarget, unixTarget } from './channel.ts';
import { join, type ObtainRequest, renew } from './obtain.ts';

export interface CaAddress {
  /** host:port */
  readonly address: string;
  /** The CA's join.sock. */
  readonly socket?: string | undefined;
}

/**
 * Renews over mutual TLS with a valid certificate, and joins otherwise. If the CA does not accept the certificate, it
 * joins, too: by the CA's clock the certificate may have expired. The unix platform needs the CA's socket.
 */
export async function askCa(request: ObtainRequest, ca: CaAddress, current: Svid | undefined): Promise<Svid> {
  const { evidence, bundle, clock, revocations } = request;
  const judge: Judge = { now: () => clock.now(), ...(revocations === undefined ? {} : { revocations }) };
  const isGood = current !== undefined && clock.now() < current.notAfter;
  if (isLocal(evidence) && ca.socket !== undefined) {
    const joining = { ...request, succeeds: isGood ? current : undefined };
    return using(AttestationClient, unixTarget(ca.socket), (client) => join(client, joining));
  }
  const over = (svid: Svid | undefined): Target => tlsTarget(ca.address, bundle, svid, judge);
  const joinAnew = () => using(AttestationClient, over(undefined), (client) => join(client, request));
  if (!isGood) return joinAnew();
  try {
    return await using(IdentityClient, over(current), (client) => renew(client, request));
  } catch (error) {
    if (isRefusedCertificate(error)) return joinAnew();
    throw error;
  }
}

async function using<C extends { close(): void }>(
  Client: new (address: string, credentials: Target['credentials'], options: Target['options']) => C,
  target: Target,
  use: (client: C) => Promise<Svid>,
): Promise<Svid> {
  const client = new Client(target.address, target.credentials, target.options);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

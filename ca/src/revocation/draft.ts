/** What an operator may revoke, and until when. */
import { nodeName } from '@chancery/shared/evidence/node.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { ensureOfDomain, type Reason, type Target } from '@chancery/shared/revocation/revocation.ts';
import { parseSpiffeId, type TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { isReserved, roleNamedBy } from '@chancery/shared/spiffe/reserved.ts';
import { OWN_NODE } from '../agents/holders.ts';
import type { CertificateStore, RevocationDraft } from '../store/store.ts';

export interface RevocationOrder {
  readonly target: Target;
  readonly reason: Reason;
  /** 0 for no end. */
  readonly seconds: number;
  readonly by: string;
}

interface DraftDeps {
  readonly store: Pick<CertificateStore, 'issuance'>;
  readonly clock: Clock;
  readonly trustDomain: TrustDomain;
}

/** A revocation of a certificate ends with that certificate. Throws revocation. */
export async function draftOf(order: RevocationOrder, deps: DraftDeps): Promise<RevocationDraft> {
  const { target, reason, seconds, by } = order;
  const taint = 'an authority is not revoked by itself, since another one must sign: chancery-ca taint';
  ensure(target.kind !== 'authority', 'revocation', taint);
  ensureOfDomain(target, deps.trustDomain);
  const now = deps.clock.now();
  const asked = seconds === 0 ? undefined : addSeconds(now, seconds);
  const issued = target.kind === 'serial' ? await deps.store.issuance(target.value) : undefined;
  const isOperator = target.kind === 'id' && roleNamedBy(parseSpiffeId(target.value)) === 'operator';
  const reserved =
    target.kind === 'node' ? target.value === nodeName(OWN_NODE) : isReserved(target.value) && !isOperator;
  const how = 'the names of the CA are not revoked; revoke its certificate by serial, and it makes another';
  ensure(!reserved, 'revocation', how);
  if (issued === undefined) return { target, reason, by, until: asked };
  const { notAfter, id } = issued;
  const ended = `certificate ${target.value} of ${id} ended at ${notAfter.toISOString()} by itself`;
  ensure(notAfter > now, 'revocation', ended);
  return { target, reason, by, until: asked !== undefined && asked < notAfter ? asked : notAfter };
}

/** The root that signs vouches for the one that comes after it. */
import { hash } from 'node:crypto';
import { base64 } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { type Voucher, voucherOf, voucherStatement } from '@chancery/shared/voucher/voucher.ts';
import type { KeyHomes } from '../keys/homes.ts';
import { isOffline } from '../keys/offline.ts';
import type { AuditIntake, AuthorityRecord, StoredAuthority } from '../store/store.ts';

export interface VouchDeps {
  readonly trustDomain: TrustDomain;
  readonly keys: KeyHomes;
  readonly store: Pick<AuditIntake, 'events'>;
}

/**
 * Agents that trust `by` learn from it that `next` is a root of the same trust domain. One that is offline has signed
 * it on its own machine, and the audit log has it. Throws what its home throws, and rotation where there is none.
 */
export async function vouch(
  by: AuthorityRecord,
  next: AuthorityRecord & Partial<Pick<StoredAuthority, 'publication'>>,
  deps: VouchDeps,
): Promise<Voucher> {
  if (isOffline(by)) return voucherOnRecord(by, next, deps);
  const signer = await deps.keys.root.load(by.key);
  const statement = voucherStatement(deps.trustDomain, by.certificate, next.certificate);
  return voucherOf(by.certificate, next.certificate, await signer.sign(statement));
}

async function voucherOnRecord(
  by: AuthorityRecord,
  { serial, certificate, publication }: Parameters<typeof vouch>[1],
  { store }: VouchDeps,
): Promise<Voucher> {
  const [found] = publication === undefined ? [] : await store.events(publication - 1, 1);
  const voucher = found?.event.type === 'authority.moved' ? found.event.voucher : undefined;
  const isFor =
    voucher?.by === hash('sha256', by.certificate, 'hex') && voucher.certificate === base64(certificate);
  const says = `root ${by.serial} is offline, and the audit log has no word of it for root ${serial}`;
  ensure(voucher !== undefined && isFor, 'rotation', `${says}: take the rotation back and begin another one`);
  return voucher;
}

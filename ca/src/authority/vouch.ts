/** The root that signs vouches for the one that comes after it. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { type Voucher, voucherOf, voucherStatement } from '@chancery/shared/voucher/voucher.ts';
import type { KeyHomes } from '../keys/homes.ts';
import { isOffline } from '../keys/offline.ts';
import type { AuthorityRecord } from '../store/store.ts';

/** Throws rotation for a root whose key is elsewhere: agents take another root by the word of the active one alone. */
export const ensureVouches = (root: AuthorityRecord): void =>
  ensure(
    !isOffline(root),
    'rotation',
    `root ${root.serial} is offline and cannot vouch for another one here`,
  );

/** Agents that trust `by` learn from it that `next` is a root of the same trust domain. Throws what its home throws. */
export async function vouch(
  by: AuthorityRecord,
  next: AuthorityRecord,
  { trustDomain, keys }: { readonly trustDomain: TrustDomain; readonly keys: KeyHomes },
): Promise<Voucher> {
  const signer = await keys.root.load(by.key);
  const statement = voucherStatement(trustDomain, by.certificate, next.certificate);
  return voucherOf(by.certificate, next.certificate, await signer.sign(statement));
}

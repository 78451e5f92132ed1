/** What must hold of the authorities before a step of a rotation. */
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { verifyPath } from '@chancery/shared/x509/verify/path.ts';
import type { AuthorityDeps } from '../authority/certify.ts';
import { rootOf } from '../authority/records.ts';
import { isOffline } from '../keys/offline.ts';
import type { AuthorityRecord } from '../store/store.ts';

/** Throws rotation where the root that signs cannot vouch for another one; one that is offline is asked. */
export async function ensureKeyOfRoot({ store, keys }: Pick<AuthorityDeps, 'store' | 'keys'>): Promise<void> {
  const root = rootOf(await store.authorities());
  const { serial, key } = root;
  const says = `the key of root ${serial} is not at hand (${key.home}), and agents take no root without its voucher`;
  const canVouch = isOffline(root) || (await keys.root.has(key));
  ensure(canVouch, 'rotation', `${says}: bring it back and try again`);
}

/** Throws authority_unfit: what is not valid now must not be made the one that signs. */
export function ensureChain(intermediate: AuthorityRecord, root: AuthorityRecord, now: Date): void {
  const [leaf, anchor] = [intermediate, root].map(({ certificate }) => parseCertificate(certificate));
  if (leaf === undefined || anchor === undefined) return;
  try {
    verifyPath({ leaf, intermediates: [], anchors: [anchor], now });
  } catch (error) {
    const says = error instanceof Error ? error.message : String(error);
    throw new IdentityError('authority_unfit', `root ${root.serial} is not valid now: ${says}`, {
      cause: error,
    });
  }
}

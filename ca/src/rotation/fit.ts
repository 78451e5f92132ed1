/** What must hold of the authorities before a step of a rotation. */
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { nearest } from '@chancery/shared/text/nearest.ts';
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

/** Who is waited for, and who has a stream. */
interface Known {
  readonly waited: readonly { readonly id: SpiffeId }[];
  readonly connected: readonly { readonly id: SpiffeId }[];
}

/** Throws rotation for a SPIFFE ID that nobody has: the operator means somebody. */
export function ensureKnown(without: readonly string[], { waited, connected }: Known): void {
  const ids = [...new Set([...waited, ...connected].map(({ id }) => String(id)))];
  for (const id of without) {
    const near = nearest(id, ids);
    const hint = near === undefined ? 'chancery-ca rotate status lists who is' : `did you mean ${near}?`;
    ensure(ids.includes(id), 'rotation', `--without ${id}: nobody of this SPIFFE ID is waited for; ${hint}`);
  }
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

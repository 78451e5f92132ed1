/** What peers see that trust only a CA above this one: one place for all that is said of it. */
import { certifiedAbove } from '@chancery/shared/x509/verify/certified-above.ts';
import { endOfChain } from '@chancery/shared/x509/verify/cross.ts';
import { isOffline } from '../keys/offline.ts';
import { isInBundle, isStandby } from '../store/authority-states.ts';
import type { StoredAuthority } from '../store/store.ts';

type Root = Pick<
  StoredAuthority,
  'serial' | 'kind' | 'state' | 'key' | 'standby' | 'taintedAt' | 'notAfter' | 'cross' | 'crossLost'
>;

/** What is to be asked of the CA above where the key of a root is stolen: nothing for most authorities. */
export function toRevokeAbove(stolen: Pick<Root, 'serial' | 'cross'>): readonly string[] {
  const certified = certifiedAbove(stolen.cross?.chain);
  if (certified === undefined) return [];
  const what = `the CA above must revoke its certificate ${certified.serial} of root ${stolen.serial}`;
  const until = `until then peers that trust it take what the thief signs, to ${certified.notAfter}`;
  const also = 'those that it issued before it are in the audit log (authority.crossCertified)';
  return [`${what}, issued by ${certified.issuer}: ${until}; ${also}`];
}

/** Roots that sign, or may come to sign, and that peers of the CA above refuse. */
export function lackingAbove<T extends Root>(records: readonly T[], now: Date): readonly T[] {
  const counts = ({ cross, crossLost, ...each }: T): boolean =>
    crossLost !== undefined || (cross !== undefined && (isInBundle(each) || now < endOfChain(cross.chain)));
  if (!records.some(counts)) return [];
  return records.filter(
    ({ kind, state, taintedAt, cross }) =>
      kind === 'root' && isToSign(state) && taintedAt === undefined && cross === undefined,
  );
}

const isToSign = (state: Root['state']): boolean => ['prepared', 'published', 'active'].includes(state);

/** A sentence for each root of `lackingAbove`, with what to do. */
export const saysLacking = (records: readonly Root[], now: Date): readonly string[] =>
  lackingAbove(records, now).map((root) => {
    const { serial, state, crossLost } = root;
    if (crossLost !== undefined)
      return `${saysLost(serial)}: import it again, chancery-ca authorities import CHAIN`;
    const when = state === 'active' ? ', and signs' : '';
    const says = `root ${serial} has no certificate from the CA above${when}`;
    return `${says}: peers that trust only that CA refuse what it signs: ${howToAsk(root)}`;
  });

const saysLost = (serial: string): string =>
  `root ${serial} lacks its chain from the CA above: it was imported after the backup that was restored`;

function howToAsk(root: Root): string {
  if (isOffline(root)) return 'chancery-ca ceremony request, where its key is';
  const command = `chancery-ca authorities request --above ${root.serial}`;
  return isStandby(root) ? `${command}, with the folder of the standby key in dataDir` : command;
}

/** The same after a taint: `root` signs then, and is undefined if it is still to be made. */
export function aboveAfterTaint(
  records: readonly Root[],
  { authority, root }: { readonly authority: Root; readonly root: Root | undefined },
  now: Date,
): readonly string[] {
  const after = records.map((each) => {
    if (each.serial === authority.serial) return { ...each, state: 'removed' as const, taintedAt: now };
    return each.serial === root?.serial ? { ...each, state: 'active' as const } : each;
  });
  const isBare = root === undefined && authority.cross !== undefined;
  const made =
    'the root that is still to be made has no certificate from the CA above, and signs: ask for one at once';
  return [...toRevokeAbove(authority), ...(isBare ? [made] : []), ...saysLacking(after, now)];
}

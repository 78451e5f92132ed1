/** What an operator should know of the authorities of a CA, of one that serves and of one that does not. */
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { endOfChain } from '@chancery/shared/x509/verify/cross.ts';
import { saysLacking } from '../authority/above.ts';
import { isInBundle, isStandby } from '../store/authority-states.ts';
import type { AuthorityRecord, StoredAuthority } from '../store/store.ts';

type Known = AuthorityRecord & Pick<StoredAuthority, 'cross' | 'crossLost'>;

/** A sentence for each, with what to do. */
export function concernsOf(records: readonly Known[], now: Date): readonly string[] {
  const standsBy = records.some((each) => isStandby(each) && each.state === 'published');
  return [...(standsBy ? [] : [NO_STANDBY]), ...crossConcerns(records, now)];
}

/** What peers that trust only a CA above will refuse, and soon. */
function crossConcerns(records: readonly Known[], now: Date): readonly string[] {
  const lacking = saysLacking(records, now);
  const ending = records.filter(isInBundle).flatMap(({ serial, cross }) => {
    const end = cross && endOfChain(cross.chain);
    if (end === undefined || end > addSeconds(now, CROSS_SOON_SECONDS)) return [];
    const ends = `${end <= now ? 'ended' : 'ends'} at ${end.toISOString()}`;
    return [
      `what a CA above has certified of root ${serial} ${ends}: chancery-ca authorities request --above ${serial}`,
    ];
  });
  return [...lacking, ...ending];
}

/** As the alert. */
const CROSS_SOON_SECONDS = 21 * 86_400;

/** Said of a CA where no root stands by, wherever the key of its root is. */
export const NO_STANDBY =
  "no root stands by: if the root's key is stolen, each agent and job that is not connected at that moment needs " +
  'the new bundle by hand, and those that are get it by the stolen key; chancery-ca rotate standby makes one';

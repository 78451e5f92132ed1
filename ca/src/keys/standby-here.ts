/** Whether the keys of standby roots are on this machine, where they are not kept. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { keepsKey } from '../store/authority-states.ts';
import type { AuthorityRecord } from '../store/store.ts';
import type { KeyHomes } from './homes.ts';
import { STANDBY } from './standby-keys.ts';

/** Throws file with what to do if one is away: what is done to key files would pass it by. */
export async function ensureStandbyHere(
  records: readonly AuthorityRecord[],
  { standby }: Pick<KeyHomes, 'standby'>,
): Promise<void> {
  for (const { serial, key } of records.filter((each) => keepsKey(each) && each.key.home === STANDBY)) {
    const advice =
      'bring its folder back first, or leave its key under the old key-encryption key (--without-standby)';
    const says = `the key of the standby root ${serial} is not in the folder standby of dataDir: ${advice}`;
    ensure(await standby.has(key), 'file', says);
  }
}

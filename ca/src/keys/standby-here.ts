/** Whether the keys of standby roots are on this machine, where they should not stay. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isStandby, keepsKey } from '../store/authority-states.ts';
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

/** A sentence for each root that stands by and has its key on this machine. */
export async function standbyKeysHere(
  records: readonly AuthorityRecord[],
  { standby }: Pick<KeyHomes, 'standby'>,
): Promise<readonly string[]> {
  const found: string[] = [];
  for (const each of records.filter(({ key }) => key.home === STANDBY)) {
    if (!isStandby(each) || !keepsKey(each) || !(await standby.has(each.key))) continue;
    const says = `the key of root ${each.serial}, which stands by, is on this machine (dataDir/standby)`;
    found.push(`${says}: a thief of the machine takes it, too; move that folder to a safe place offline`);
  }
  return found;
}

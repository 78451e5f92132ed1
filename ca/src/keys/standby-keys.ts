/**
 * The home of standby roots: a folder that an operator carries elsewhere, and brings back in an emergency. A root that
 * signs cannot be without its key, so from then on the key is beside those of the other authorities.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { equal } from '@chancery/shared/ground/bytes.ts';
import { ensure, refusalOf } from '@chancery/shared/ground/errors.ts';
import { readKeyFile, writeKeyFile } from '@chancery/shared/keys/file.ts';
import type { KeyPlace } from '@chancery/shared/keys/home.ts';
import type { Keks } from '@chancery/shared/keys/keks.ts';
import { spkiOf } from '@chancery/shared/keys/key.ts';
import { syncFolder } from '@chancery/shared/unix/files/sync-folder.ts';
import { isStandby, keepsKey } from '../store/authority-states.ts';
import type { AuthorityRecord } from '../store/store.ts';
import type { StandbyHome } from './homes.ts';
import { keyFiles } from './key-files.ts';

/** As records name it. */
export const STANDBY = 'standby';

export interface StandbyFolders {
  /** The folder of the other key files. */
  readonly folder: string;
  /** The one that is carried elsewhere. */
  readonly standbyFolder: string;
  readonly keks: Keks;
}

/** Whether it was a standby root, and is one of those now that sign or have signed: its key may not be away. */
export const hasStoodBy = (each: AuthorityRecord): boolean =>
  each.kind === 'root' && each.key.home === STANDBY && keepsKey(each) && !isStandby(each);

/** The name of the home where a key is now: that of a root which stood by and signs is beside the others. */
export const homeOf = (each: AuthorityRecord): string => (hasStoodBy(each) ? FILE : each.key.home);

const FILE = 'file';

/** Throws file, file_mode. */
export function standbyKeys({ folder, standbyFolder, keks }: StandbyFolders): StandbyHome {
  const away = keyFiles(standbyFolder, keks, STANDBY);
  const beside = keyFiles(folder, keks, STANDBY);
  const nowhere = ({ reference }: KeyPlace): string =>
    `${standbyFolder} does not have ${reference}.key: bring the folder of the standby key back`;
  return {
    create: away.create,
    has: async (place) => (await beside.has(place)) || (await away.has(place)),
    async load(place) {
      if (await beside.has(place)) return beside.load(place);
      ensure(await away.has(place), 'key_missing', nowhere(place));
      return away.load(place);
    },
    async remove(place) {
      await away.remove(place);
      await beside.remove(place);
    },
    async keep(place) {
      if (place.home !== STANDBY) return;
      ensure((await away.has(place)) || (await beside.has(place)), 'key_missing', nowhere(place));
      if (!(await away.has(place))) return;
      const [from, to] = [standbyFolder, folder].map((each) => join(each, `${place.reference}.key`));
      if (from !== undefined && to !== undefined) moveKey(from, to, keks);
    },
  };
}

/** Also from one file system to another, and again after a crash. The new file is durable before the old one goes. */
function moveKey(from: string, to: string, keks: Keks): void {
  const key = readKeyFile(from, keks);
  if (!existsSync(to)) writeKeyFile(to, key, keks);
  const isSame = equal(spkiOf(readKeyFile(to, keks)), spkiOf(key));
  ensure(isSame, 'key_wrong', `${to} is another key than ${from}`);
  try {
    rmSync(from);
    syncFolder(join(from, '..'));
  } catch (error) {
    throw refusalOf(error, 'file', `${from} could not be removed: ${String(error)}`);
  }
}

/** The homes of one CA's keys, opened by its config. */
import { keksAt } from '@chancery/shared/keys/keks.ts';
import { type CaSettings, paths } from './config.ts';
import type { KeyHomes } from './keys/homes.ts';
import { type OpenKeys, openKeys } from './keys/open-keys.ts';

type KeySettings = Pick<CaSettings, 'dataDir' | 'trustDomain' | 'keyEncryptionKey' | 'keys'>;

/** The homes of this CA's keys; the caller closes them. Throws file, file_mode, key_unreachable. */
export async function keysOf(settings: KeySettings): Promise<OpenKeys> {
  const keks = keksAt(settings.keyEncryptionKey);
  const { keys: folder, standbyKeys: standbyFolder } = paths(settings.dataDir);
  return openKeys(settings.keys, { folder, standbyFolder, keks, trustDomain: settings.trustDomain });
}

/** Runs `work` with them, and closes them. Throws as `keysOf`, and what `work` throws. */
export async function withKeys<T>(settings: KeySettings, work: (keys: KeyHomes) => Promise<T>): Promise<T> {
  const { homes, close } = await keysOf(settings);
  try {
    return await work(homes);
  } finally {
    await close();
  }
}

/** Authorities' keys as files in one folder, each encrypted under the key-encryption key. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { refusalOf } from '@chancery/shared/ground/errors.ts';
import { readKeyFile, writeKeyFile } from '@chancery/shared/keys/file.ts';
import { generateKey, type Signer, signerOf } from '@chancery/shared/keys/key.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';
import type { AuthorityRecord } from '../store/store.ts';

/** Where authorities' keys are kept, by the serial of their certificate. */
export interface AuthorityKeys {
  /** Which algorithm it has is the home's choice. */
  create(serial: string): Promise<Signer>;
  /** Whether there is a key for this serial number. */
  has(serial: string): boolean;
  /** Throws file, file_mode. */
  load(serial: string): Promise<Signer>;
  /** Does nothing where there is no such key. Throws file. */
  remove(serial: string): Promise<void>;
}

/** The root's key may be kept where the CA rarely or never reaches it, and the intermediates' beside the CA. */
export type KeyHomes = Readonly<Record<AuthorityRecord['kind'], AuthorityKeys>>;

/** Root and intermediates in one place. */
export const oneHome = (keys: AuthorityKeys): KeyHomes => ({ root: keys, intermediate: keys });

/** One folder for all kinds. The folder is made when the first key is. */
export function keyFiles(folder: string, keyEncryptionKey: Uint8Array): AuthorityKeys {
  const pathOf = (serial: string) => join(folder, `${serial}.key`);
  return {
    async create(serial) {
      makeFolder(folder, 0o700);
      const key = generateKey();
      writeKeyFile(pathOf(serial), key, keyEncryptionKey);
      return signerOf(key);
    },
    has: (serial) => existsSync(pathOf(serial)),
    load: async (serial) => signerOf(readKeyFile(pathOf(serial), keyEncryptionKey)),
    async remove(serial) {
      try {
        rmSync(pathOf(serial), { force: true });
      } catch (error) {
        throw refusalOf(error, 'file', `${pathOf(serial)} could not be removed: ${String(error)}`);
      }
    },
  };
}

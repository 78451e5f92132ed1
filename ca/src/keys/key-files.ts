/** A home of keys: one folder of files, each encrypted under the key-encryption key. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensure, refusalOf } from '@chancery/shared/ground/errors.ts';
import { type KeyEncryption, readKeyFile, writeKeyFile } from '@chancery/shared/keys/file.ts';
import type { KeyHome, KeyPlace } from '@chancery/shared/keys/home.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';

/** As records and the config name it. */
export const FILE = 'file';
/** A reference becomes the name of a file: nothing in the database may lead out of the folder. */
const REFERENCE = /^[0-9a-f]{2,40}$/;

/** A reference is the serial of the certificate. The folder is made with the first key. Throws file, file_mode. */
export function keyFiles(folder: string, keks: KeyEncryption, name = FILE): KeyHome {
  const pathOf = ({ home, reference }: KeyPlace): string => {
    ensure(home === name, 'key_wrong', `key ${reference} is in the home ${home}, and not in ${name}`);
    ensure(REFERENCE.test(reference), 'key_wrong', `key ${reference} is not named as a file of a key is`);
    return join(folder, `${reference}.key`);
  };
  return {
    async create(label, algorithm) {
      const place = { home: name, reference: label };
      const path = pathOf(place);
      makeFolder(folder, 0o700);
      const key = generateKey(algorithm);
      writeKeyFile(path, key, keks);
      return { place, signer: signerOf(key) };
    },
    has: async (place) => existsSync(pathOf(place)),
    async load(place) {
      const path = pathOf(place);
      const missing = `${path} could not be opened: it is missing; restore it from your backup`;
      ensure(existsSync(path), 'key_missing', missing);
      return signerOf(readKeyFile(path, keks));
    },
    async remove(place) {
      const path = pathOf(place);
      try {
        rmSync(path, { force: true });
      } catch (error) {
        throw refusalOf(error, 'file', `${path} could not be removed: ${String(error)}`);
      }
    },
  };
}

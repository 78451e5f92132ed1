/**
 * The folder of an offline root: its encrypted key, its certificate, what it has signed, and the transcripts. The
 * key-encryption key may be on another medium.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { readKeyFile } from '@chancery/shared/keys/file.ts';
import { readKek } from '@chancery/shared/keys/kek.ts';
import { type Signer, signerOf } from '@chancery/shared/keys/key.ts';
import { writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';
import { ensurePrivateFolder } from '@chancery/shared/unix/files/safe-folder.ts';
import { inFile, readWholeFile } from '@chancery/shared/unix/files/whole-file.ts';
import { ensureKeyOf } from '../authority/records.ts';
import { MAX_FILE_BYTES } from './block.ts';
import { type RootFile, readRoot } from './root.ts';

export interface CeremonyAt {
  readonly dir: string;
  readonly keyEncryptionKey: string;
}

/** Where things are. */
export const filesOf = (dir: string) => ({
  root: join(dir, 'root.pem'),
  key: join(dir, 'root.key'),
  issued: join(dir, 'issued'),
  lists: join(dir, 'lists'),
  transcripts: join(dir, 'transcripts'),
});

/** Throws file unless it is a regular file, no larger than those that people carry. Blocks. */
export const readCarried = (path: string): Uint8Array =>
  inFile(path, 'file', () => readWholeFile(path, { maxBytes: MAX_FILE_BYTES, code: 'file' }));

/** Before anything is signed that is to be written there. Throws file. Blocks. */
export const ensureFree = (path: string): void =>
  ensure(!existsSync(path), 'file', `${path} is there already: name another file, or move it away`);

/** Never over another file. Throws file. Blocks. */
export function writeNew(path: string, text: string): void {
  ensureFree(path);
  makeFolder(dirname(path), 0o755);
  writeFileAtomic(path, utf8(text), 0o644);
}

/** The root of the folder. Throws file, file_mode, and as `readRoot`. Blocks. */
export function rootIn(dir: string): RootFile {
  const { root } = filesOf(dir);
  ensure(existsSync(root), 'file', `${root} is missing: make a root with chancery-ca ceremony init`);
  ensurePrivateFolder(dir);
  return readRoot(readCarried(root));
}

/** The key of the root, which is that of its certificate. Throws file, file_mode, key_wrong. Blocks. */
export function signerIn({ dir, keyEncryptionKey }: CeremonyAt, root: RootFile): Signer {
  const signer = signerOf(readKeyFile(filesOf(dir).key, readKek(keyEncryptionKey)));
  const { serial, algorithm } = root;
  ensureKeyOf({ serial, algorithm, certificate: root.certificate.der }, signer);
  return signer;
}

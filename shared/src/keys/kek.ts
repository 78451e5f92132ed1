/** The key-encryption key: what key files are encrypted under. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { asBuffer, base64, utf8 } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { type Derivation, deriveKek, readDerivation, writeDerivation } from './passphrase.ts';
import { readProtectedFile, writeFileAtomic } from './secret-file.ts';

/** Its length. */
export const KEK_BYTES = 32;
const MAX_BYTES = 16 * 1024;
const OWNER_ONLY = 0o600;

/**
 * The key-encryption key: 32 bytes in base64, or what it is derived from (passphrase.ts). Throws file_mode and file.
 * Blocks, for 0.4 s where it is derived for the first time.
 */
export function readKek(path: string): Uint8Array {
  const text = textOf(path);
  const derivation = readDerivation(text);
  if (derivation !== undefined) return deriveKek(derivation);
  const kek = Buffer.from(text, 'base64');
  ensure(base64(kek) === text, 'file', `${path} is not base64`);
  ensure(kek.length === KEK_BYTES, 'file', `${path} has ${kek.length} bytes of key, not ${KEK_BYTES}`);
  return kek;
}

/** What the key in a file is derived from; undefined if it is in the file itself. Throws file_mode, file. Blocks. */
export const derivationAt = (path: string): Derivation | undefined => readDerivation(textOf(path));

/** The file of the passphrase that the key comes from; undefined if it comes from none. Throws file_mode, file. */
export const passphraseFileOf = (path: string): string | undefined => derivationAt(path)?.passphraseFile;

/**
 * Makes a new one, with mode 0600, from the passphrase in a file if one is given; never over an old one, which keys may
 * be encrypted under. Throws file, file_mode. Blocks.
 */
export function createKek(path: string, passphraseFile?: string): void {
  ensure(!existsSync(path), 'file', `${path} is there already`);
  const text =
    passphraseFile === undefined ? base64(randomBytes(KEK_BYTES)) : writeDerivation(passphraseFile);
  writeFileAtomic(path, utf8(`${text}\n`), OWNER_ONLY);
}

const textOf = (path: string): string => asBuffer(readProtectedFile(path, MAX_BYTES)).toString('utf8').trim();

/** The key-encryption key: what key files are encrypted under. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { asBuffer, base64, utf8 } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { readProtectedFile, writeFileAtomic } from './secret-file.ts';

/** Its length. */
export const KEK_BYTES = 32;
const MAX_BYTES = 16 * 1024;
const OWNER_ONLY = 0o600;

/** The key-encryption key: 32 bytes in base64. Throws file_mode and file. Blocks. */
export function readKek(path: string): Uint8Array {
  const text = asBuffer(readProtectedFile(path, MAX_BYTES)).toString('latin1').trim();
  const kek = Buffer.from(text, 'base64');
  ensure(base64(kek) === text, 'file', `${path} is not base64`);
  ensure(kek.length === KEK_BYTES, 'file', `${path} has ${kek.length} bytes of key, not ${KEK_BYTES}`);
  return kek;
}

/** Makes a new one, with mode 0600; never over an old one, which keys may be encrypted under. Throws file. Blocks. */
export function createKek(path: string): void {
  ensure(!existsSync(path), 'file', `${path} is there already`);
  writeFileAtomic(path, utf8(`${base64(randomBytes(KEK_BYTES))}\n`), OWNER_ONLY);
}

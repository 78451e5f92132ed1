/**
 * The PIN of a token: from a file, and never the same one again once the token has refused it. A token locks itself
 * after a few wrong PINs, and a supervisor starts a CA that fails again and again; so a refusal is remembered on disk.
 */
import { createHmac } from 'node:crypto';
import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { asBuffer, utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import { readProtectedFile, writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';

export interface PinAt {
  /** The file with the PIN, 0600. */
  readonly pinFile: string;
  /** Where a refusal is remembered. */
  readonly refusedFile: string;
  /** Without it the memory of a refused PIN says nothing of the PIN: it is a MAC under this key. */
  readonly keyEncryptionKey: Uint8Array;
}

const MAX_BYTES = 1024;
const OWNER_ONLY = 0o600;

/** Throws file_mode, file. Blocks. */
export function readPin({ pinFile }: PinAt): string {
  const text = asBuffer(readProtectedFile(pinFile, MAX_BYTES)).toString('utf8');
  const pin = text.replace(/\r?\n$/, '');
  ensure(pin !== '' && !/[\r\n\0]/.test(pin), 'file', `${pinFile}: one line with the PIN is expected`);
  return pin;
}

/** Throws key_refused if this token has refused this PIN before. Blocks. */
export function ensureNotRefused(pin: string, token: string, at: PinAt): void {
  const says = `token ${token} has refused the PIN of ${at.pinFile}`;
  ensure(
    known(at) !== markOf(pin, token, at),
    'key_refused',
    `${says}: correct the file; it is not tried again`,
  );
}

/** Throws file. Blocks. */
export function rememberRefused(pin: string, token: string, at: PinAt): void {
  makeFolder(dirname(at.refusedFile), 0o700);
  writeFileAtomic(at.refusedFile, utf8(`${markOf(pin, token, at)}\n`), OWNER_ONLY);
}

/** Blocks. */
export const forgetRefused = ({ refusedFile }: PinAt): void => rmSync(refusedFile, { force: true });

function known({ refusedFile }: PinAt): string | undefined {
  try {
    return asBuffer(readProtectedFile(refusedFile, MAX_BYTES)).toString('latin1').trim();
  } catch (error) {
    if (isRefusal(error, 'file')) return undefined;
    throw error;
  }
}

const markOf = (pin: string, token: string, { keyEncryptionKey }: PinAt): string =>
  createHmac('sha256', keyEncryptionKey)
    .update(JSON.stringify(['chancery-refused-pin', token, pin]))
    .digest('hex');

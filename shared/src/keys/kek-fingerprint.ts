/**
 * Names a key-encryption key, so that two can be told apart without either: a backup says by it which one it needs.
 *
 * Of a key of 32 random bytes it is a digest, which nobody can search. Of one that comes from a passphrase it is a
 * digest of the salt alone, which is no secret and another one each time such a key is made: a digest of the key would
 * be one more thing to try guesses of the passphrase on, and is not needed.
 */
import { hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { base64, concat, utf8 } from '../ground/bytes.ts';
import { derivationAt, readKek } from './kek.ts';
import { keksBeside } from './keks.ts';

/** What it looks like. */
export const KEK_FINGERPRINT = /^(random|scrypt)-[0-9a-f]{32}$/;

/** Of the key in a file; a passphrase is not read. Throws file, file_mode. Blocks. */
export function kekFingerprint(path: string): string {
  const derivation = derivationAt(path);
  return derivation === undefined
    ? `random-${digest('random', readKek(path))}`
    : `scrypt-${digest('scrypt', utf8(base64(derivation.salt)))}`;
}

/** Those of all keys at a path, the one in force first; empty if there is none. Throws file, file_mode. Blocks. */
export function kekFingerprints(path: string): readonly string[] {
  const { next, before } = keksBeside(path);
  return [path, next, before].filter((each) => existsSync(each)).map(kekFingerprint);
}

const digest = (kind: string, bytes: Uint8Array): string =>
  hash('sha256', concat(utf8(`chancery-kek-fingerprint-${kind}\0`), bytes), 'hex').slice(0, 32);

/**
 * Encrypted private keys in files: a copy of the disk or a backup is worth nothing without the key-encryption key,
 * which is kept elsewhere. One PEM block, CHANCERY ENCRYPTED KEY:
 *
 * version (1) || salt (32) || SHA-256 of the SPKI (32) || AES-256-GCM ciphertext of PKCS #8 || tag (16)
 *
 * Key and nonce are HKDF-SHA256 of the key-encryption key with the salt; a salt is used once. The version, the salt and
 * the SPKI's hash, which tells keys apart without opening them, are authenticated with it.
 */
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  hash,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { readPem, writePem } from '../der/pem.ts';
import { asBuffer, concat, equal, Reader, u8, utf8 } from '../ground/bytes.ts';
import { ensure, isRefusal, refusalOf } from '../ground/errors.ts';
import { KEK_BYTES } from './kek.ts';
import type { Keks } from './keks.ts';
import { spkiOf } from './key.ts';
import { readProtectedFile, writeFileAtomic } from './secret-file.ts';

const LABEL = 'CHANCERY ENCRYPTED KEY';
const VERSION = 1;
const INFO = utf8('chancery-key-file-v1');
const CIPHER = 'aes-256-gcm';
const [SALT, DIGEST, NONCE, AUTH_TAG] = [32, 32, 12, 16] as const;
const MAX_BYTES = 16 * 1024;
const OWNER_ONLY = 0o600;

/** One, or those of a path, which may be changing. */
export type KeyEncryption = Uint8Array | Keks;

/** Throws file_mode when others may read the file, and file. Blocks. */
export function readKeyFile(path: string, keks: KeyEncryption): KeyObject {
  if (keks instanceof Uint8Array) return openKey(blockOf(path), keks, path);
  try {
    return openByAny(path, keks.all());
  } catch (error) {
    if (!isRefusal(error, 'file')) throw error;
    // Both may have been replaced between the one look and the other.
    return openByAny(path, keks.all());
  }
}

function openByAny(path: string, keks: Iterable<Uint8Array>): KeyObject {
  const block = blockOf(path);
  let refused: unknown;
  for (const each of keks)
    try {
      return openKey(block, each, path);
    } catch (error) {
      refused = error;
    }
  throw refused;
}

function blockOf(path: string): Uint8Array {
  const text = asBuffer(readProtectedFile(path, MAX_BYTES)).toString('latin1');
  const [block = new Uint8Array(), ...others] = readPem(text, LABEL, 'file');
  ensure(others.length === 0, 'file', `${path} has more than one key`);
  return block;
}

/** Throws file if the file is not one encrypted key, without opening it; file_mode. Blocks. */
export function ensureSealed(path: string): void {
  blockOf(path);
}

/** Replaces the file in one step, with mode 0600. Blocks. */
export function writeKeyFile(path: string, key: KeyObject, keks: KeyEncryption): void {
  if (keks instanceof Uint8Array) {
    writeSealed(path, key, keks);
    return;
  }
  // Again if another became the newest meanwhile: who made it may have passed this file by.
  for (let used: Uint8Array | undefined; used === undefined || !equal(used, keks.newest()); ) {
    used = keks.newest();
    writeSealed(path, key, used);
  }
}

function writeSealed(path: string, key: KeyObject, kek: Uint8Array): void {
  const header = concat(u8(VERSION), randomBytes(SALT), hash('sha256', spkiOf(key), 'buffer'));
  const { secret, nonce } = derive(kek, header);
  const cipher = createCipheriv(CIPHER, secret, nonce).setAAD(header);
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const sealed = concat(header, cipher.update(pkcs8), cipher.final(), cipher.getAuthTag());
  writeFileAtomic(path, utf8(writePem(LABEL, sealed)), OWNER_ONLY);
}

function openKey(block: Uint8Array, kek: Uint8Array, path: string): KeyObject {
  const reader = new Reader(block, 'file');
  const version = reader.u8('version');
  ensure(version === VERSION, 'file', `${path} is of version ${version}, not ${VERSION}`);
  reader.take(SALT, 'salt');
  reader.take(DIGEST, 'key digest');
  const header = block.subarray(0, reader.offset);
  ensure(reader.left >= AUTH_TAG, 'file', `${path} ends early`);
  const ciphertext = reader.take(reader.left - AUTH_TAG, 'ciphertext');
  return decrypt({ header, ciphertext, tag: reader.take(AUTH_TAG, 'tag') }, kek, path);
}

interface Sealed {
  readonly header: Uint8Array;
  readonly ciphertext: Uint8Array;
  readonly tag: Uint8Array;
}

function decrypt({ header, ciphertext, tag }: Sealed, kek: Uint8Array, path: string): KeyObject {
  const { secret, nonce } = derive(kek, header);
  try {
    const decipher = createDecipheriv(CIPHER, secret, nonce).setAAD(header).setAuthTag(tag);
    const pkcs8 = concat(decipher.update(ciphertext), decipher.final());
    return createPrivateKey({ key: asBuffer(pkcs8), format: 'der', type: 'pkcs8' });
  } catch (error) {
    throw refusalOf(error, 'file', `${path} does not open with this key-encryption key`);
  }
}

function derive(kek: Uint8Array, header: Uint8Array): { secret: Uint8Array; nonce: Uint8Array } {
  const salt = header.subarray(1, 1 + SALT);
  const derived = new Uint8Array(hkdfSync('sha256', kek, salt, INFO, KEK_BYTES + NONCE));
  return { secret: derived.subarray(0, KEK_BYTES), nonce: derived.subarray(KEK_BYTES) };
}

/** The key that signs checkpoints: Ed25519, in a file of its own, encrypted as the keys of authorities are. */
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { type KeyEncryption, readKeyFile, writeKeyFile } from '@chancery/shared/keys/file.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { type NoteKey, noteKey } from '@chancery/shared/tlog/note.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';
import type { LogStore } from '../store/log-store.ts';

export interface LogKey {
  readonly verifier: NoteKey;
  readonly privateKey: KeyObject;
}

export interface LogKeyAt {
  readonly path: string;
  readonly keyEncryptionKey: KeyEncryption;
  readonly trustDomain: TrustDomain;
}

/** Origin of the checkpoints and name of their key. */
const originOf = (trustDomain: TrustDomain): string => `${trustDomain}/chancery/log`;

/** Throws file, file_mode. */
export function readLogKey({ path, keyEncryptionKey, trustDomain }: LogKeyAt): LogKey {
  const privateKey = readKeyFile(path, keyEncryptionKey);
  ensure(
    privateKey.asymmetricKeyType === 'ed25519',
    'file',
    `${path} is not the key of the audit log (Ed25519)`,
  );
  return { privateKey, verifier: noteKey(originOf(trustDomain), createPublicKey(privateKey)) };
}

/** Makes the key if there is none and nothing was signed with one. Throws file, file_mode, store. */
export async function openLogKey(at: LogKeyAt, store: Pick<LogStore, 'checkpoint'>): Promise<LogKey> {
  if (!existsSync(at.path)) {
    const signed = await store.checkpoint();
    const says = `${at.path} is missing, and the audit log of ${signed?.size} entries is signed with it`;
    ensure(signed === undefined, 'file', `${says}: restore it from your backup`);
    makeFolder(dirname(at.path), 0o700);
    writeKeyFile(at.path, generateKeyPairSync('ed25519').privateKey, at.keyEncryptionKey);
  }
  return readLogKey(at);
}

/** Makes an offline root, on a machine that needs no network. */
import { existsSync } from 'node:fs';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { writeKeyFile } from '@chancery/shared/keys/file.ts';
import { createKek, readKek } from '@chancery/shared/keys/kek.ts';
import { generateKey, type KeyAlgorithm, signerOf } from '@chancery/shared/keys/key.ts';
import type { TrustDomain } from '@chancery/shared/spiffe/id.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';
import { ensurePrivateFolder } from '@chancery/shared/unix/files/safe-folder.ts';
import { assembleCertificate } from '@chancery/shared/x509/compose/tbs.ts';
import { draftAuthority, validityWithin } from '../authority/draft.ts';
import { drawSerial } from '../authority/serial.ts';
import { type CeremonyAt, filesOf, writeNew } from './folder.ts';
import { type RootFile, readRoot, writeCertificate } from './root.ts';

/** A machine without a network has no time server: it may be ahead of those that read its certificates. */
export const OFFLINE_BACKDATE_SECONDS = 3600;

export interface NewRoot extends CeremonyAt {
  readonly trustDomain: TrustDomain;
  readonly algorithm: KeyAlgorithm;
  readonly ttlSeconds: number;
  readonly now: Date;
  readonly random: (size: number) => Uint8Array;
}

/** Throws file if there is a root, or a key of one, already. Blocks. */
export function ensureNoRoot({ dir }: CeremonyAt): void {
  const { root, key } = filesOf(dir);
  for (const each of [root, key])
    ensure(
      !existsSync(each),
      'file',
      `${each} is there already: a root is made once, in a folder of its own`,
    );
}

/**
 * Makes key and certificate; the key-encryption key, too, if its file is missing. The certificate is written last: if
 * it is there, the root is complete. Throws file, file_mode, lint.
 */
export async function makeOfflineRoot(order: NewRoot): Promise<RootFile> {
  const { dir, keyEncryptionKey, trustDomain, algorithm, now, ttlSeconds } = order;
  ensureNoRoot(order);
  makeFolder(dir, 0o700);
  ensurePrivateFolder(dir);
  if (!existsSync(keyEncryptionKey)) createKek(keyEncryptionKey);
  const key = generateKey(algorithm);
  const signer = signerOf(key);
  const tbs = draftAuthority({
    kind: 'root',
    trustDomain,
    spki: signer.spki,
    crlUrl: undefined,
    serial: drawSerial(now, order.random, 0),
    validity: validityWithin(undefined, { now, ttlSeconds, backdateSeconds: OFFLINE_BACKDATE_SECONDS }),
    parent: undefined,
    algorithm,
  });
  const pem = writeCertificate(assembleCertificate(tbs, algorithm, await signer.sign(tbs)));
  const root = readRoot(utf8(pem));
  writeKeyFile(filesOf(dir).key, key, readKek(keyEncryptionKey));
  writeNew(filesOf(dir).root, pem);
  return root;
}

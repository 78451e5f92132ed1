/** What a backup says of itself: which CA, of when, and what each file must be. */
import { createHash } from 'node:crypto';
import { createReadStream, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { asBuffer, hex } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import { KEK_FINGERPRINT } from '@chancery/shared/keys/kek-fingerprint.ts';
import { readProtectedFile } from '@chancery/shared/keys/secret-file.ts';
import { z } from 'zod';

export const MANIFEST = 'manifest.json';
export const DATABASE = 'ca.db';
export const CONFIG = 'ca.yaml';
export const KEYS = 'keys';
/** Only where it comes from a passphrase: salt and costs, without which the passphrase is worth nothing. */
export const DERIVATION = 'key-encryption-key';

const MAX_BYTES = 1024 * 1024;
const HEX_SHA256 = /^[0-9a-f]{64}$/;
const count = z.int().min(0);

const Manifest = z.strictObject({
  format: z.literal(1),
  trustDomain: z.string(),
  madeAt: z.iso.datetime(),
  schema: count,
  newestEvent: count,
  checkpoint: z.strictObject({ size: count, root: z.string().regex(HEX_SHA256) }).nullable(),
  files: z.array(
    z.strictObject({
      // Only names that a backup has, so that none leads out of its folder.
      name: z.string().regex(/^(ca\.db|ca\.yaml|key-encryption-key|keys\/[0-9a-z]{1,64}\.key)$/),
      bytes: count,
      sha256: z.string().regex(HEX_SHA256),
    }),
  ),
  /** Of the key-encryption key that its keys are under; not there while another takes its place. */
  kek: z.string().regex(KEK_FINGERPRINT).optional(),
  keysElsewhere: z
    .array(
      z.strictObject({
        kind: z.enum(['root', 'intermediate']),
        serial: z.string(),
        home: z.string(),
        reference: z.string(),
      }),
    )
    .default([]),
});

export type Manifest = z.infer<typeof Manifest>;

/** Of an authority whose key is in a home that no backup has. */
export type KeyElsewhere = Manifest['keysElsewhere'][number];

/** One line for each key that the backup lacks, and nothing if it has all. */
export const saysElsewhere = (keys: readonly KeyElsewhere[]): string =>
  keys
    .map(
      ({ kind, serial, home, reference }) =>
        `not in it: the key of ${kind} ${serial}, in ${home}: ${reference}\n`,
    )
    .join('');

/** Of one file of a backup: its path in the folder, its length and SHA-256. */
export type BackupFile = Manifest['files'][number];

/** Throws backup, file, file_mode. */
export function readManifest(folder: string): Manifest {
  const path = join(folder, MANIFEST);
  try {
    const text = asBuffer(readProtectedFile(path, MAX_BYTES)).toString('utf8');
    return Manifest.parse(JSON.parse(text));
  } catch (error) {
    throw refusalOf(error, 'backup', `${path} is not the manifest of a backup that this program knows`);
  }
}

/**
 * Reads every file. `onRead` is called with the bytes so far, of how many. Throws backup for the first file that is
 * missing, of another content or not in the manifest; file, file_mode.
 */
export async function verifyFiles(
  folder: string,
  { files }: Manifest,
  onRead: (bytes: number, of: number) => void,
): Promise<void> {
  const known = new Set(files.map(({ name }) => name));
  const found = [...names(folder, ''), ...names(folder, KEYS)];
  const other = found.find((name) => name !== MANIFEST && name !== KEYS && !known.has(name));
  ensure(other === undefined, 'backup', `${folder} has a file that its manifest does not name: ${other}`);
  const all = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let read = 0;
  for (const { name, bytes, sha256 } of files) {
    ensure(found.includes(name), 'backup', `${join(folder, name)} is missing`);
    const seen = await digestOf(join(folder, name), (length) => {
      read += length;
      onRead(Math.min(read, all), all);
    });
    const isSame = seen.bytes === bytes && seen.sha256 === sha256;
    ensure(isSame, 'backup', `${join(folder, name)} is not the file that was backed up: its content differs`);
  }
}

/** Throws backup if the file cannot be read. */
export async function digestOf(
  path: string,
  onRead: (bytes: number) => void,
): Promise<Omit<BackupFile, 'name'>> {
  const digest = createHash('sha256');
  let bytes = 0;
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      digest.update(chunk);
      bytes += chunk.length;
      onRead(chunk.length);
    }
  } catch (error) {
    throw refusalOf(error, 'backup', `${path} could not be read: ${String(error)}`);
  }
  return { bytes, sha256: hex(digest.digest()) };
}

function names(folder: string, under: string): readonly string[] {
  try {
    return readdirSync(join(folder, under)).map((name) => (under === '' ? name : `${under}/${name}`));
  } catch (error) {
    throw new IdentityError('backup', `${join(folder, under)} is not a folder of a backup`, { cause: error });
  }
}

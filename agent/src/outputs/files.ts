/**
 * svid.pem, key.pem and bundle.pem for any TLS stack. All three switch at once: they are links through `..data`, which
 * is itself a link that is renamed over (as Kubernetes does it), so no reader sees a new key beside an old certificate.
 */
import { type KeyObject, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { utf8 } from '@chancery/shared/bytes.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { IdentityError } from '@chancery/shared/errors.ts';
import { openSafeFolder } from '@chancery/shared/kernel/safe-folder.ts';
import { type FileOwner, writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { keyPem } from '@chancery/shared/tls/options.ts';
import type { OutputSettings } from '../config.ts';

const CURRENT = '..data';
const NAMES = ['svid.pem', 'key.pem', 'bundle.pem'];
/** Folders of ours, by a name that nothing else has: they alone are ever removed. */
const VERSION = /^\.\.\d{4}-\d\d-\d\dT\d\d_\d\d_\d\d\.\d{3}Z\.[0-9a-f]{8}$/;
const PUBLIC_MODE = 0o644;

/** A chain, and its key or the file of a key that lives elsewhere. */
export interface Holding {
  /** X.509 DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  readonly key: KeyObject | { readonly pem: string };
}

/** Writes the files and switches them. Throws file, file_mode; what was there before then stays whole. */
export function writeOutput(output: OutputSettings, holding: Holding, bundle: Bundle, now: Date): void {
  const folder = openSafeFolder(output.dir, 0o755);
  const version = `..${now.toISOString().replaceAll(':', '_')}.${randomBytes(4).toString('hex')}`;
  try {
    writeVersion(join(folder.path, version), output, { ...holding, bundle });
    switchTo(folder.path, version);
  } catch (error) {
    fs.rmSync(join(folder.path, version), { recursive: true, force: true });
    const says = String(error).replaceAll(folder.path, output.dir);
    throw new IdentityError('file', `the output ${output.dir} could not be written: ${says}`, {
      cause: error,
    });
  } finally {
    folder.close();
  }
}

function writeVersion(
  folder: string,
  output: OutputSettings,
  { chain, key, bundle }: Holding & { readonly bundle: Bundle },
): void {
  const owner = ownerOf(output);
  fs.mkdirSync(folder, { mode: 0o755 });
  const pem = (certificates: readonly Uint8Array[]) =>
    utf8(certificates.map((der) => writePem('CERTIFICATE', der)).join(''));
  const secret = utf8('pem' in key ? key.pem : keyPem(key));
  writeFileAtomic(join(folder, 'svid.pem'), pem(chain), PUBLIC_MODE, owner);
  writeFileAtomic(join(folder, 'key.pem'), secret, Number.parseInt(output.mode, 8), owner);
  writeFileAtomic(join(folder, 'bundle.pem'), pem(bundle.authorities), PUBLIC_MODE, owner);
}

function switchTo(dir: string, version: string): void {
  replaceLink(version, join(dir, CURRENT));
  for (const name of NAMES)
    if (!isLink(join(CURRENT, name), join(dir, name))) replaceLink(join(CURRENT, name), join(dir, name));
  // The one before, and what a crash has left.
  for (const name of fs.readdirSync(dir))
    if (VERSION.test(name) && name !== version) fs.rmSync(join(dir, name), { recursive: true, force: true });
}

function isLink(target: string, path: string): boolean {
  const found = fs.lstatSync(path, { throwIfNoEntry: false });
  return found?.isSymbolicLink() === true && fs.readlinkSync(path) === target;
}

function replaceLink(target: string, path: string): void {
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  fs.symlinkSync(target, temporary);
  fs.renameSync(temporary, path);
}

function ownerOf({ uid, gid }: OutputSettings): FileOwner | undefined {
  if (uid === undefined && gid === undefined) return undefined;
  // chown(2): -1 leaves the owner or the group as it is.
  return { uid: uid ?? -1, gid: gid ?? -1 };
}

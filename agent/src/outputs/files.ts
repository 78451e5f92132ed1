/**
 * svid.pem, key.pem and bundle.pem for any TLS stack. All three switch at once: they are links through `..data`, which
 * is itself a link that is renamed over (as Kubernetes does it), so no reader sees a new key beside an old certificate.
 */
import { type KeyObject, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { writePem } from '@chancery/shared/der/pem.ts';
import { equal, utf8 } from '@chancery/shared/ground/bytes.ts';
import { IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { type FileOwner, writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { systemSentenceWithPath } from '@chancery/shared/text/system-sentence.ts';
import { keyPem } from '@chancery/shared/tls/options.ts';
import { openSafeFolder } from '@chancery/shared/unix/files/safe-folder.ts';
import type { OutputSettings } from '../config/schema.ts';

const CURRENT = '..data';
/** Where the output asks for it. */
const CRL_NAME = 'crl.pem';
/** The names of our folders, which nothing else has: only they are removed. */
const VERSION = /^\.\.\d{4}-\d\d-\d\dT\d\d_\d\d_\d\d\.\d{3}Z\.[0-9a-f]{8}$/;
const PUBLIC_MODE = 0o644;

/** A chain, and its key or the file of a key that lives elsewhere. */
export interface Holding {
  /** X.509 DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  readonly key: KeyObject | { readonly pem: string };
  /** Revocation lists, X.509 DER; undefined before the CA has sent any: then those on disk stay. */
  readonly crls?: readonly Uint8Array[] | undefined;
}

/**
 * Writes the files and switches them. Files that are up to date are not touched, because programs watch them. Throws
 * file, file_mode; then the old files stay complete.
 */
export function writeOutput(output: OutputSettings, holding: Holding, bundle: Bundle, now: Date): void {
  const folder = openSafeFolder(output.dir, 0o755);
  const version = `..${now.toISOString().replaceAll(':', '_')}.${randomBytes(4).toString('hex')}`;
  try {
    const files = [...filesOf(output, holding, bundle), ...listsOf(output, holding, folder.path)];
    if (isCurrent(folder.path, files, output)) return;
    writeVersion(join(folder.path, version), files, output);
    switchTo(folder.path, version, files);
  } catch (error) {
    fs.rmSync(join(folder.path, version), { recursive: true, force: true });
    const found = isRefusal(error) ? error.message : (systemSentenceWithPath(error) ?? String(error));
    const says = found.replaceAll(folder.path, output.dir);
    throw new IdentityError('file', `the output ${output.dir} could not be written: ${says}`, {
      cause: error,
    });
  } finally {
    folder.close();
  }
}

interface OutputFile {
  readonly name: 'svid.pem' | 'key.pem' | 'bundle.pem' | typeof CRL_NAME;
  readonly bytes: Uint8Array;
  readonly mode: number;
}

function filesOf({ mode }: OutputSettings, { chain, key }: Holding, bundle: Bundle): readonly OutputFile[] {
  const pem = (certificates: readonly Uint8Array[]) =>
    utf8(certificates.map((der) => writePem('CERTIFICATE', der)).join(''));
  const secret = utf8('pem' in key ? key.pem : keyPem(key));
  return [
    { name: 'svid.pem', bytes: pem(chain), mode: PUBLIC_MODE },
    { name: 'key.pem', bytes: secret, mode: Number.parseInt(mode, 8) },
    { name: 'bundle.pem', bytes: pem(bundle.authorities), mode: PUBLIC_MODE },
  ];
}

/** Whether the folder has lists, whatever their age. */
export const hasLists = ({ dir }: Pick<OutputSettings, 'dir'>): boolean => fs.existsSync(join(dir, CRL_NAME));

/** None where the output does not ask for them, and where there never were any. */
function listsOf({ crl }: OutputSettings, { crls }: Holding, dir: string): readonly OutputFile[] {
  if (crl !== true) return [];
  const path = join(dir, CRL_NAME);
  if (crls === undefined && !fs.existsSync(path)) return [];
  const bytes =
    crls === undefined ? contentOf(path) : utf8(crls.map((der) => writePem('X509 CRL', der)).join(''));
  return [{ name: CRL_NAME, bytes, mode: PUBLIC_MODE }];
}

function writeVersion(folder: string, files: readonly OutputFile[], output: OutputSettings): void {
  fs.mkdirSync(folder, { mode: 0o755 });
  for (const { name, bytes, mode } of files)
    writeFileAtomic(join(folder, name), bytes, mode, ownerOf(output));
}

/** True if every file is up to date. Otherwise all are written again, which removes leftovers. */
function isCurrent(dir: string, files: readonly OutputFile[], output: OutputSettings): boolean {
  const [version = '', ...more] = fs.readdirSync(dir).filter((name) => VERSION.test(name));
  if (version === '' || more.length > 0 || !isLink(version, join(dir, CURRENT))) return false;
  if (hasOldList(dir, files)) return false;
  return files.every(
    (file) =>
      isLink(join(CURRENT, file.name), join(dir, file.name)) &&
      isAs(join(dir, version, file.name), file, output),
  );
}

function isAs(path: string, { bytes, mode }: OutputFile, { uid, gid }: OutputSettings): boolean {
  const found = fs.lstatSync(path, { throwIfNoEntry: false });
  if (!found?.isFile() || found.size !== bytes.length || (found.mode & 0o7777) !== mode) return false;
  // Without `gid`, the folder gives the group.
  const owned = found.uid === (uid ?? geteuid?.()) && found.gid === (gid ?? found.gid);
  return owned && equal(contentOf(path), bytes);
}

/** The folder is safe: nobody else can replace a file after the check. */
function contentOf(path: string): Uint8Array {
  try {
    return fs.readFileSync(path);
  } catch {
    return new Uint8Array();
  }
}

function switchTo(dir: string, version: string, files: readonly OutputFile[]): void {
  replaceLink(version, join(dir, CURRENT));
  for (const { name } of files)
    if (!isLink(join(CURRENT, name), join(dir, name))) replaceLink(join(CURRENT, name), join(dir, name));
  if (hasOldList(dir, files)) fs.rmSync(join(dir, CRL_NAME));
  // Removes the version before, and leftovers of a crash.
  for (const name of fs.readdirSync(dir))
    if (VERSION.test(name) && name !== version) fs.rmSync(join(dir, name), { recursive: true, force: true });
}

/** A link of ours to a list that is not written any more leads nowhere. */
const hasOldList = (dir: string, files: readonly OutputFile[]): boolean =>
  files.every(({ name }) => name !== CRL_NAME) && isLink(join(CURRENT, CRL_NAME), join(dir, CRL_NAME));

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

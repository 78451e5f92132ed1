/**
 * svid.pem, key.pem and bundle.pem for any TLS stack. All three switch at once: they are links through `..data`, which
 * is itself a link that is renamed over (as Kubernetes does it), so no reader sees a new key beside an old certificate.
 */
import { execFile } from 'node:child_process';
import { type KeyObject, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { utf8 } from '@chancery/shared/bytes.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { IdentityError, refusalOf } from '@chancery/shared/errors.ts';
import { type FileOwner, writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { keyPem } from '@chancery/shared/tls/options.ts';
import type { OutputSettings } from '../config.ts';

const COMMAND_MS = 30_000;
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

/** Writes the files and switches them. Throws file; what was there before then stays whole. */
export function writeOutput(
  output: OutputSettings,
  { chain, key }: Holding,
  bundle: Bundle,
  now: Date,
): void {
  const owner = ownerOf(output);
  const version = `..${now.toISOString().replaceAll(':', '_')}.${randomBytes(4).toString('hex')}`;
  const folder = join(output.dir, version);
  try {
    fs.mkdirSync(output.dir, { recursive: true, mode: 0o755 });
    fs.mkdirSync(folder, { mode: 0o755 });
    const pem = (certificates: readonly Uint8Array[]) =>
      utf8(certificates.map((der) => writePem('CERTIFICATE', der)).join(''));
    const secret = utf8('pem' in key ? key.pem : keyPem(key));
    writeFileAtomic(join(folder, 'svid.pem'), pem(chain), PUBLIC_MODE, owner);
    writeFileAtomic(join(folder, 'key.pem'), secret, Number.parseInt(output.mode, 8), owner);
    writeFileAtomic(join(folder, 'bundle.pem'), pem(bundle.authorities), PUBLIC_MODE, owner);
    switchTo(output.dir, version);
  } catch (error) {
    fs.rmSync(folder, { recursive: true, force: true });
    throw refusalOf(error, 'file', `the output ${output.dir} could not be written: ${String(error)}`);
  }
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

const run = promisify(execFile);

/** Tells the program that reads the files. Throws unavailable with what went wrong; the files stay. */
export async function notifyReader(
  { command, signal }: OutputSettings,
  kill: typeof process.kill,
  timeoutMs = COMMAND_MS,
): Promise<void> {
  try {
    if (signal !== undefined) kill(pidIn(signal.pidFile), signal.name);
    const [program, ...args] = command ?? [];
    if (program !== undefined) await run(program, args, { timeout: timeoutMs, killSignal: 'SIGKILL' });
  } catch (error) {
    const says = error instanceof Error ? error.message : String(error);
    throw refusalOf(error, 'unavailable', `the reader of an output could not be told: ${says}`);
  }
}

function pidIn(file: string): number {
  const text = fs.readFileSync(file, 'utf8').trim();
  const pid = Number(text);
  // 0 and negative numbers name whole process groups.
  if (!/^[1-9]\d{0,9}$/.test(text))
    throw new IdentityError('file', `${file} holds no pid: "${text.slice(0, 20)}"`);
  return pid;
}

/** `backup`: copies what a CA is made of to a folder, while it serves or while it does not run. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import {
  type Command,
  type ExitStatus,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
} from '@chancery/shared/cli/program.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { ensureFree, makeBackup } from '../../backup/make.ts';
import {
  DATABASE,
  DERIVATION,
  type Manifest,
  readManifest,
  saysElsewhere,
  verifyFiles,
} from '../../backup/manifest.ts';
import { ensureKek, ensureKeysOpen } from '../../backup/restore.ts';
import { type CaSettings, paths, readCaConfig } from '../../config.ts';
import { copyClosedDatabase, ensureSound } from '../../store/sqlite/file/copy.ts';
import { Bar } from '../bar.ts';
import { CONFIG_FLAG, configFile, printJson } from '../flags.ts';
import { callOperator } from '../operator/admin.ts';

/** A database of many gigabytes. */
const COPY_SECONDS = 3600;
const LOOK_MS = 200;

/** Makes a backup, or verifies one. */
export const backup = ({ clock }: { readonly clock: Clock }): Command => ({
  says:
    'Copies database, encrypted keys and config to a new folder, while the CA serves or when it does not run. ' +
    '`verify` reads one again. The key-encryption key is not in it: keep that elsewhere.',
  positionals: 'DIR | verify DIR',
  words: ['verify'],
  flags: {
    'dry-run': { type: 'boolean', says: 'Only say whether a backup could be made there.' },
    ...CONFIG_FLAG,
    ...JSON_FLAG,
  },
  run(invocation, io) {
    const [first, second, ...more] = invocation.positionals;
    if (first === 'verify' && second !== undefined && more.length === 0)
      return verify(resolve(second), invocation, io);
    if (first === undefined || first === 'verify' || second !== undefined)
      throw new MisuseError('expected the folder to make, or `verify` and the folder of a backup');
    return make(resolve(first), clock, invocation, io);
  },
});

async function make(folder: string, clock: Clock, invocation: Invocation, io: Io): Promise<ExitStatus> {
  const settings = readCaConfig(configFile(invocation));
  ensureFree(folder, settings);
  if (invocation.has('dry-run')) {
    if (invocation.has('json')) printJson(io, { folder, dryRun: true });
    else io.out(`${folder} can be made; nothing was written (dry run)\n`);
    return 0;
  }
  const bar = new Bar(invocation.has('json') ? undefined : io);
  const copyDatabase = () => copying(settings, bar, () => copyNow(settings, invocation));
  const manifest = await makeBackup({ settings, folder, now: clock.now(), copyDatabase });
  bar.clear();
  say({ manifest, folder }, invocation, io);
  return 0;
}

/** By the CA that serves; if none does, the database is free. */
async function copyNow(settings: CaSettings, invocation: Invocation): Promise<void> {
  try {
    await callOperator(invocation, (client) => client.copyDatabase, {}, COPY_SECONDS);
  } catch (error) {
    if (!isRefusal(error, 'unavailable')) throw error;
    const { database, databaseCopy } = paths(settings.dataDir);
    await copyClosedDatabase(database, databaseCopy);
  }
}

/** The copy grows to the length of the database. */
async function copying(settings: CaSettings, bar: Bar, copy: () => Promise<void>): Promise<void> {
  const { database, databaseCopy } = paths(settings.dataDir);
  const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const look = setInterval(() => bar.show('the database', sizeOf(databaseCopy), sizeOf(database)), LOOK_MS);
  try {
    await copy();
  } finally {
    clearInterval(look);
  }
}

async function verify(folder: string, invocation: Invocation, io: Io): Promise<ExitStatus> {
  const bar = new Bar(invocation.has('json') ? undefined : io);
  const manifest = readManifest(folder);
  const other = why(() => ensureKek(folder, manifest, readCaConfig(configFile(invocation))));
  if (other !== undefined && !invocation.has('json')) io.err(`warning: ${other}\n`);
  await verifyFiles(folder, manifest, (done, of) => bar.show('the backup', done, of));
  ensureSound(`${folder}/${DATABASE}`);
  bar.clear();
  const closed = other ?? why(() => ensureKeysOpen(folder, manifest, readCaConfig(configFile(invocation))));
  say({ manifest, folder, keysOpen: closed === undefined }, invocation, io);
  if (invocation.has('json')) return 0;
  io.out(closed === undefined ? OPEN : `its keys do not open here: ${closed}\n`);
  return 0;
}

const OPEN = 'its keys open with the key-encryption key of the config here\n';

/** Why a look at the keys is refused; undefined if it is not. */
function why(look: () => void): string | undefined {
  try {
    look();
    return undefined;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return error.message;
  }
}

interface Said {
  readonly manifest: Manifest;
  readonly folder: string;
  /** Whether its keys open with the key-encryption key here; undefined if that was not looked at. */
  readonly keysOpen?: boolean;
}

function say({ manifest, folder, ...more }: Said, invocation: Invocation, io: Io): void {
  if (invocation.has('json')) {
    printJson(io, { folder, ...manifest, ...more });
    return;
  }
  const { trustDomain, madeAt, files, newestEvent, kek: fingerprint } = manifest;
  const derived = files.some(({ name }) => name === DERIVATION);
  const kek = derived ? 'the passphrase that the key-encryption key comes from' : 'the key-encryption key';
  const bytes = files.reduce((sum, each) => sum + each.bytes, 0);
  const which = fingerprint === undefined ? '' : ` (${fingerprint})`;
  io.out(
    `${folder}: ${trustDomain} as of ${madeAt}, ${files.length} files, ${bytes} bytes, ${newestEvent} audit events\n` +
      `not in it: ${kek}${which}, the files that the config names, sockets\n` +
      saysElsewhere(manifest.keysElsewhere),
  );
}

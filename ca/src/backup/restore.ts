/**
 * Makes the data folder of a CA from a backup. It appears whole or not at all. What was revoked after the backup must
 * not come back: a copy of the audit log says it, or gateways hand it back, or the operator accepts the loss.
 */
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { utf8, utf8Text } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import { type KeyEncryption, readKeyFile } from '@chancery/shared/keys/file.ts';
import { kekFingerprints } from '@chancery/shared/keys/kek-fingerprint.ts';
import { keksAt } from '@chancery/shared/keys/keks.ts';
import {
  type Derivation,
  derivationText,
  deriveKek,
  readDerivation,
} from '@chancery/shared/keys/passphrase.ts';
import { writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import { systemSentence } from '@chancery/shared/text/system-sentence.ts';
import type { NoteKey } from '@chancery/shared/tlog/note.ts';
import type { ReadFile } from '@chancery/shared/tlog/read-log.ts';
import { verifyLog } from '@chancery/shared/tlog/verify-log.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';
import { type CaSettings, paths } from '../config.ts';
import { copiesIn } from '../log/copies/folder.ts';
import { ensureSound } from '../store/sqlite/file/copy.ts';
import {
  beginLife,
  type LogEnd,
  type LostEntry,
  logEndOf,
  lostEntryOf,
} from '../store/sqlite/file/second-life.ts';
import { CONFIG, DERIVATION, KEYS, type Manifest, readManifest, verifyFiles } from './manifest.ts';

export interface RestoreOrder {
  readonly backup: string;
  readonly settings: Pick<
    CaSettings,
    'dataDir' | 'trustDomain' | 'keyEncryptionKey' | 'passphrase' | 'audit'
  >;
  /** A copy of the folder with the audit log, newer than the backup. */
  readonly log:
    | { readonly read: ReadFile; readonly key: (keyFile: string, keks: KeyEncryption) => NoteKey }
    | undefined;
  /** Why the loss of what came after the backup is accepted. */
  readonly reason: string | undefined;
  readonly by: string;
  readonly now: Date;
  /** The operator says that the backup is as old as it seems. */
  readonly isOldAgreed: boolean;
  /** Changes nothing. */
  readonly dryRun: boolean;
  /** Called while files are read, with how far that is. */
  readonly onProgress: (what: 'the backup' | 'the log', done: number, of: number) => void;
}

export interface Restored {
  readonly manifest: Manifest;
  /** How many entries of the log came after the backup. */
  readonly lost: readonly LostEntry[];
  /** Undefined for a dry run. */
  readonly life: number | undefined;
  /** It issues nothing before gateways have handed back what they know. */
  readonly holds: boolean;
  /** Why the audit log will not go on; undefined if it will. */
  readonly standstill: string | undefined;
  /** A call for the copies of checkpoints may block for ever, and Node would wait for it at its end. */
  readonly hangs: boolean;
}

/** Throws backup, file, file_mode, store, tlog. */
export async function restore(order: RestoreOrder): Promise<Restored> {
  const { backup, settings } = order;
  const manifest = readManifest(backup);
  const { trustDomain } = settings;
  const says = `${backup} is of ${manifest.trustDomain}, and the config is of ${trustDomain}`;
  ensure(manifest.trustDomain === trustDomain, 'backup', says);
  ensureEmpty(settings.dataDir);
  ensure(order.isOldAgreed || !isOld(manifest, order.now), 'backup', saysOld(manifest, order.now));
  ensureKek(backup, manifest, settings);
  await verifyFiles(backup, manifest, (done, of) => order.onProgress('the backup', done, of));
  ensureKeysOpen(backup, manifest, settings);
  const temporary = `${settings.dataDir}.restoring`;
  try {
    fs.rmSync(temporary, { recursive: true, force: true });
    return await build(temporary, manifest, order);
  } catch (error) {
    throw refusalOf(
      error,
      'backup',
      `${backup} could not be restored: ${systemSentence(error) ?? String(error)}`,
    );
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true });
  }
}

/** Beyond it a clock that is ahead is likelier than such a backup. */
const OLD_DAYS = 366;

const ageOf = ({ madeAt }: Manifest, now: Date): number =>
  Math.floor((now.getTime() - new Date(madeAt).getTime()) / 86_400_000);
const isOld = (manifest: Manifest, now: Date): boolean => ageOf(manifest, now) > OLD_DAYS;

/** The numbers of the next life begin at the time: agents would take nothing of a life that began earlier. */
const saysOld = (manifest: Manifest, now: Date): string =>
  `the backup is of ${manifest.madeAt}, which is ${ageOf(manifest, now)} days ago by the clock of this machine: ` +
  'set the clock right if it is ahead, for agents that have followed a CA with a later time follow no other; ' +
  'if it is right, give --yes';

function ensureEmpty(dataDir: string): void {
  const isEmpty = !fs.existsSync(dataDir) || fs.readdirSync(dataDir).length === 0;
  const advice = 'move it away first, and keep it: its log may have what the backup lacks';
  ensure(isEmpty, 'backup', `${dataDir} is not empty: ${advice}`);
}

/**
 * Before gigabytes are read: throws backup if the key-encryption key of the config is there, is another one by its
 * fingerprint, and does not open the keys; file, file_mode. A backup of an older release names none.
 */
export function ensureKek(
  backup: string,
  manifest: Manifest,
  settings: Pick<CaSettings, 'keyEncryptionKey' | 'passphrase'>,
): void {
  const path = settings.keyEncryptionKey;
  const [here, ...others] = kekFingerprints(path);
  const { kek } = manifest;
  if (kek === undefined || here === undefined || [here, ...others].includes(kek)) return;
  try {
    ensureKeysOpen(backup, manifest, settings);
  } catch (error) {
    const says = `${path} is another key-encryption key, ${here}, than that of the backup, ${kek}`;
    throw new IdentityError('backup', `${says}: bring that one, and name it in the config`, { cause: error });
  }
}

/** Without its key-encryption key a backup cannot be used. Throws what the first key that does not open throws. */
export function ensureKeysOpen(
  backup: string,
  manifest: Manifest,
  settings: Pick<CaSettings, 'keyEncryptionKey' | 'passphrase'>,
): void {
  const { files } = manifest;
  const keks = keksOf({ backup, settings }, manifest);
  for (const { name } of files) if (name.startsWith(`${KEYS}/`)) readKeyFile(join(backup, name), keks);
}

interface WithKek {
  readonly backup: string;
  readonly settings: Pick<CaSettings, 'keyEncryptionKey' | 'passphrase'>;
}

function keksOf(order: WithKek, manifest: Manifest): KeyEncryption {
  const derivation = derivationOf(order, manifest);
  return derivation === undefined ? keksAt(order.settings.keyEncryptionKey) : deriveKek(derivation);
}

/** What the backup has in place of a key-encryption key that is missing here; undefined if it has nothing. */
function derivationOf({ backup, settings }: WithKek, { files }: Manifest): Derivation | undefined {
  const isThere = files.some(({ name }) => name === DERIVATION);
  if (!isThere || fs.existsSync(settings.keyEncryptionKey)) return undefined;
  const found = readDerivation(fs.readFileSync(join(backup, DERIVATION), 'utf8').trim());
  ensure(found !== undefined, 'backup', `${join(backup, DERIVATION)} is not the salt of a passphrase`);
  return { ...found, passphraseFile: settings.passphrase ?? found.passphraseFile };
}

async function build(temporary: string, manifest: Manifest, order: RestoreOrder): Promise<Restored> {
  const { backup, settings, log, now, reason, by } = order;
  makeFolder(dirname(temporary), 0o755);
  fs.mkdirSync(temporary, 0o711);
  const at = paths(temporary);
  fs.mkdirSync(at.keys, 0o700);
  for (const { name } of manifest.files)
    if (name !== CONFIG && name !== DERIVATION) copySynced(join(backup, name), join(temporary, name));
  ensureSound(at.database);
  const backupAt = new Date(manifest.madeAt);
  const end = logEndOf(at.database);
  const lost =
    log === undefined
      ? []
      : await lostEntries(end, log.key(at.logKey, keksOf(order, manifest)), { ...order, log });
  const holds = log === undefined && reason === undefined;
  const entries = end.size + end.entries.length + lost.length;
  const growth = await whyNoGrowth(entries, settings.audit.checkpointCopies);
  if (order.dryRun) return { manifest, lost, life: undefined, holds, ...growth };
  const derivation = derivationOf(order, manifest);
  if (derivation !== undefined)
    writeFileAtomic(settings.keyEncryptionKey, utf8(`${derivationText(derivation)}\n`), 0o600);
  const life = beginLife(at.database, { now, backupAt, lost, reason, by, entries, holds });
  if (fs.existsSync(settings.dataDir)) fs.rmdirSync(settings.dataDir);
  fs.renameSync(temporary, settings.dataDir);
  return { manifest, lost, life, holds, ...growth };
}

/** As the CA will find it when it serves: it signs nothing where a copy may prove what it does not have. */
async function whyNoGrowth(
  entries: number,
  folder: string | undefined,
): Promise<Pick<Restored, 'standstill' | 'hangs'>> {
  if (folder === undefined) return { standstill: undefined, hangs: false };
  const found = await copiesInTime(folder).catch((error: unknown) => String(error));
  const unread = 'the copies of checkpoints cannot be read, so the audit log may not go on';
  if (found === undefined) return { standstill: `${unread}: ${folder} does not answer`, hangs: true };
  if (typeof found === 'string') return { standstill: `${unread}: ${found}`, hangs: false };
  return { standstill: saysAhead(found[0] ?? 0, entries, folder), hangs: false };
}

function saysAhead(newest: number, entries: number, folder: string): string | undefined {
  if (newest <= entries) return undefined;
  return (
    `the audit log will not go on: the copy ${newest}.checkpoint in ${folder} has more entries than the ` +
    `${entries} of what is restored. Restore with a newer copy of the log (--log); or keep these copies as ` +
    'evidence, and give audit.checkpointCopies another folder before the CA serves (docs/audit.md, "When")'
  );
}

/** Undefined for a mount that does not answer: its server may be away for ever. Throws what the file system refuses. */
function copiesInTime(folder: string): Promise<readonly number[] | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const late = setTimeout(() => resolve(undefined), ANSWER_MS);
  return Promise.race([copiesIn(folder), promise]).finally(() => clearTimeout(late));
}

const ANSWER_MS = 5_000;

/** Takes them from the pass that verifies them: who can write there changes nothing after it. Throws tlog, store. */
async function lostEntries(
  end: LogEnd,
  key: NoteKey,
  { log, onProgress }: RestoreOrder & { readonly log: NonNullable<RestoreOrder['log']> },
): Promise<readonly LostEntry[]> {
  const isThere = (await log.read('checkpoint')) !== undefined;
  ensure(isThere, 'tlog', 'the folder of --log has no checkpoint: give dataDir/log, or a copy of it');
  const kept = end.note === undefined ? [] : [{ name: 'the backup', note: Buffer.from(end.note) }];
  const found: string[] = [];
  const { from, findings } = await verifyLog({
    ...{ read: log.read, key, kept },
    onProgress: (n, of) => onProgress('the log', n, of),
    onEntry: (index, entry) => {
      if (index >= end.size) found.push(utf8Text(entry, 'tlog', `entry ${index}`));
    },
  });
  const begins = `the copy of the log begins with entry ${from}: what is before was pruned, or is lost`;
  const has = `and the backup has ${end.size} entries: use a backup of at least ${from}, or restore without --log`;
  ensure(from <= end.size, 'backup', `${begins}; ${has}`);
  const [bad] = findings;
  ensure(bad === undefined, 'tlog', `the copy of the log is not that of this CA: ${bad?.problem}`);
  for (const [n, entry] of end.entries.slice(0, found.length).entries())
    ensure(entry === found[n], 'tlog', `entry ${end.size + n} of the log is another one than in the backup`);
  return found.slice(end.entries.length).map(lostEntryOf);
}

function copySynced(from: string, to: string): void {
  fs.copyFileSync(from, to, fs.constants.COPYFILE_EXCL);
  fs.chmodSync(to, 0o600);
  const fd = fs.openSync(to, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

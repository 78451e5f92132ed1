/** The Merkle log of audit events of one data folder: its key, and its growth while the CA serves. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { KeyEncryption } from '@chancery/shared/keys/file.ts';
import { keksAt } from '@chancery/shared/keys/keks.ts';
import { openOutbound } from '@chancery/shared/outbound/http.ts';
import type { NoteKey } from '@chancery/shared/tlog/note.ts';
import { inFile } from '@chancery/shared/unix/files/whole-file.ts';
import { type CaSettings, paths, readBeside } from './config.ts';
import { Copies } from './log/copies/folder.ts';
import { startWebhook, type Webhook } from './log/copies/webhook.ts';
import { startIndexer } from './log/indexer.ts';
import { logFiles } from './log/log-files.ts';
import { type LogKey, type LogKeyAt, openLogKey, readLogKey } from './log/log-key.ts';
import { startPruner } from './log/pruner.ts';
import { type GrowingLog, startSequencer } from './log/sequencer.ts';
import { StateNotes } from './log/state-notes.ts';
import { Vouchers } from './log/vouchers.ts';
import type { Store } from './store/store.ts';

/** The key of the audit log, made if nothing was signed with one yet. Throws file, file_mode, store. */
export const logKeyOf = (settings: CaSettings, store: Store): Promise<LogKey> =>
  openLogKey(logKeyAt(settings), store);

/** The key of the audit log as it is. Throws file, file_mode. */
export const ownLogKey = (settings: CaSettings): LogKey => readLogKey(logKeyAt(settings));

/** The key of an audit log in this file. Throws file, file_mode. */
export const logKeyIn = (
  path: string,
  keyEncryptionKey: KeyEncryption,
  { trustDomain }: Pick<CaSettings, 'trustDomain'>,
): LogKey => readLogKey({ path, keyEncryptionKey, trustDomain });

const logKeyAt = ({ dataDir, keyEncryptionKey, trustDomain }: CaSettings): LogKeyAt => ({
  path: paths(dataDir).logKey,
  keyEncryptionKey: keksAt(keyEncryptionKey),
  trustDomain,
});

export interface OpenLogDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly cautious: () => Date;
}

export interface OpenLog extends GrowingLog {
  readonly vouchers: Vouchers;
  readonly notes: StateNotes;
  readonly verifier: NoteKey;
  /** For how many seconds a checkpoint has waited to be copied elsewhere; undefined if none are copied. */
  readonly uncopiedSeconds: () => number | undefined;
  /** Whether the newest try of a copy failed; undefined if none are made. */
  readonly isCopyFailing: () => boolean | undefined;
  /** While a call for a copy of a checkpoint hangs. */
  readonly isBlocked: () => boolean;
  /** How many entries the log is pruned of; undefined if none are, and before the first pass. */
  readonly pruned: () => number | undefined;
  /** When the next entries go; undefined if that is not known. */
  readonly nextPruningAt: () => Date | undefined;
}

/** The log grows until it is closed. Throws file, file_mode, store. */
export async function openLog(settings: CaSettings, deps: OpenLogDeps): Promise<OpenLog> {
  const key = await logKeyOf(settings, deps.store);
  const { checkpointCopies: folder, copyEvery: everySeconds } = settings.audit;
  const { verifier } = key;
  const copies = folder === undefined ? undefined : new Copies({ ...deps, folder, everySeconds, verifier });
  const files = logFiles(paths(settings.dataDir).log);
  const vouchers = new Vouchers({ ...deps, files, verifier });
  const growing = startSequencer({ ...deps, key, files, copies });
  const index = startIndexer(deps);
  const { keep: keepSeconds } = settings.audit;
  const pruner = keepSeconds === undefined ? undefined : startPruner({ ...deps, files, keepSeconds });
  const loops = [growing, index, pruner];
  const { isFailing, standstill, checkpoint } = growing;
  const webhook = openWebhook(settings, deps);
  const uncopiedSeconds = () => {
    const waits = [copies?.uncopiedSeconds(), webhook?.uncopiedSeconds()].flatMap((each) => each ?? []);
    return waits.length === 0 ? undefined : Math.max(...waits);
  };
  const isCopyFailing = () => {
    const failing = [copies?.isFailing, webhook?.isFailing()].flatMap((each) => each ?? []);
    return failing.length === 0 ? undefined : failing.includes(true);
  };
  const isBlocked = () => copies?.hangs ?? false;
  const pruned = () => pruner?.pruned();
  const nextPruningAt = () => pruner?.nextAt();
  const notes = new StateNotes(key);
  const close = async () => void (await Promise.all([...loops, webhook].map((each) => each?.close())));
  const told = { uncopiedSeconds, isCopyFailing, isBlocked, pruned, nextPruningAt };
  return { isFailing, standstill, checkpoint, close, vouchers, verifier, notes, ...told };
}

/** Undefined if the config has none. Throws config. */
function openWebhook(
  { file, audit: { checkpointWebhook: config, copyEvery: everySeconds } }: CaSettings,
  deps: OpenLogDeps,
): Webhook | undefined {
  if (config === undefined) return undefined;
  const { url, ca } = config;
  const roots = ca === undefined ? {} : { ca: inFile(ca, 'config', () => readBeside(file)(ca)) };
  const outbound = openOutbound();
  const webhook = startWebhook({ ...deps, url, ...roots, everySeconds, outbound });
  const close = () => webhook.close().finally(() => outbound.close());
  return { ...webhook, close };
}

/** The operator's verbs that go with commands on files: backups, restores, another key-encryption key. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Authorities } from '../authority/authorities.ts';
import { ensureStandbyHere } from '../keys/standby-here.ts';
import type { Recovery } from '../recovery/recovery.ts';
import type { FileStore } from '../store/store.ts';
import { type VerbDeps, writing } from './verb.ts';

export interface BackupDeps extends VerbDeps {
  readonly store: FileStore;
  /** Where copies are written. Who asks for one is on this machine, and removes it. */
  readonly copyPath: string;
  readonly recovery: Pick<Recovery, 'acceptLoss' | 'whyHeld'>;
  readonly authorities: Pick<Authorities, 'records'>;
  readonly keys: Parameters<typeof ensureStandbyHere>[1];
}

export interface AcceptOrder {
  readonly reason: string;
  readonly dryRun: boolean;
}

/** As in events of the operator. */
const MAX_REASON = 1000;

/** What `keys rewrap` is about to do. */
export interface RewrapUse {
  /** Whether the new key-encryption key comes from a passphrase. */
  readonly fromPassphrase: boolean;
  /** Whether the keys of standby roots may be away: they stay under the old one. */
  readonly withoutStandby: boolean;
  readonly dryRun: boolean;
}

/** For the audit log, also of a run without the CA. */
export const aboutRewrap = ({ fromPassphrase, withoutStandby }: RewrapUse): string =>
  `another key-encryption key${fromPassphrase ? ', from a passphrase' : ''}` +
  (withoutStandby ? ', without the keys of standby roots' : '');

/** What a command on the CA's machine needs of the CA that serves. */
export const backupVerbs = (deps: BackupDeps) => ({
  /** Resolves when the copy is whole. One at a time. Throws store. */
  copyDatabase: writing<undefined, void>(
    {
      name: 'copyDatabase',
      about: () => 'for a backup',
      run: () => deps.store.copyTo(deps.copyPath),
    },
    deps,
  ),
  /** Answers with what was waited for. Throws recovering if nothing is. */
  acceptLoss: writing<AcceptOrder, string>(
    {
      name: 'acceptLoss',
      about: ({ reason, dryRun }) =>
        dryRun ? undefined : `after a restore, because: ${reason}; ${deps.recovery.whyHeld() ?? ''}`,
      // What is agreed to: that authorities are stolen may be handed back meanwhile.
      state: () => deps.recovery.whyHeld(),
      look: (order, by) => acceptLoss({ ...order, dryRun: true }, by, deps),
      run: (order, by) => acceptLoss(order, by, deps),
    },
    deps,
  ),
  /** Before the command changes the files. Throws file. */
  rewrapKeys: writing<RewrapUse, void>(
    {
      name: 'rewrapKeys',
      about: (use) => (use.dryRun ? undefined : aboutRewrap(use)),
      run: (use) => ensureRewrappable(use, deps),
    },
    deps,
  ),
});

async function ensureRewrappable(
  { withoutStandby }: RewrapUse,
  { authorities, keys }: BackupDeps,
): Promise<void> {
  if (!withoutStandby) await ensureStandbyHere(authorities.records.current(), keys);
}

async function acceptLoss({ reason, dryRun }: AcceptOrder, by: string, { recovery }: BackupDeps) {
  const isReason = reason.trim() !== '' && reason.length <= MAX_REASON;
  ensure(isReason, 'recovering', `a reason of 1 to ${MAX_REASON} characters is needed`);
  const waited = recovery.whyHeld() ?? '';
  ensure(waited !== '', 'recovering', 'the CA waits for nothing: it issues');
  if (!dryRun) await recovery.acceptLoss(reason, by);
  return waited;
}

/** The operator's verbs about backups: a copy of the database, and the end of the wait after a restore. */

import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Recovery } from '../recovery/recovery.ts';
import type { FileStore } from '../store/store.ts';
import { type VerbDeps, writing } from './verb.ts';

export interface BackupDeps extends VerbDeps {
  readonly store: FileStore;
  /** Where copies are written. Who asks for one is on this machine, and removes it. */
  readonly copyPath: string;
  readonly recovery: Pick<Recovery, 'acceptLoss' | 'whyHeld'>;
}

export interface AcceptOrder {
  readonly reason: string;
  readonly dryRun: boolean;
}

/** As in events of the operator. */
const MAX_REASON = 1000;

/** A copy resolves when it is whole. One at a time. Throw store. */
export const backupVerbs = (deps: BackupDeps) => ({
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
      about: ({ reason, dryRun }) => (dryRun ? undefined : `after a restore, because: ${reason}`),
      run: (order, by) => acceptLoss(order, by, deps),
    },
    deps,
  ),
});

async function acceptLoss({ reason, dryRun }: AcceptOrder, by: string, { recovery }: BackupDeps) {
  const isReason = reason.trim() !== '' && reason.length <= MAX_REASON;
  ensure(isReason, 'recovering', `a reason of 1 to ${MAX_REASON} characters is needed`);
  const waited = recovery.whyHeld() ?? '';
  ensure(waited !== '', 'recovering', 'the CA waits for nothing: it issues');
  if (!dryRun) await recovery.acceptLoss(reason, by);
  return waited;
}

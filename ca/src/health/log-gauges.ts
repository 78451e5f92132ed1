/** Gauges of the audit log, and of what a CA keeps for a time or holds back. */
import { Gauge, type Registry } from 'prom-client';

export interface LogSources {
  /** True while the Merkle log of audit events does not grow. */
  readonly isLogFailing: () => boolean;
  /** For how many seconds a checkpoint has waited to be copied elsewhere; undefined if none are copied. */
  readonly uncopiedSeconds: () => number | undefined;
  /** Whether the newest try of a copy failed; undefined if none are made. */
  readonly isCopyFailing: () => boolean | undefined;
  /** How many entries the audit log is pruned of; undefined if it is not. */
  readonly prunedEntries: () => number | undefined;
  /** When the next entries go; undefined if that is not known. */
  readonly nextPruningAt: () => Date | undefined;
  /** In the first hour: how old the newest record was at the start; undefined later. */
  readonly startGapSeconds: () => number | undefined;
  /** A restored CA issues nothing yet. */
  readonly isHeld: () => boolean;
  readonly now: () => Date;
}

/** Registers them. */
export function addLogGauges(sources: LogSources, registers: Registry[]): void {
  addAmounts(sources, registers);
  addFlags(sources, registers);
}

function addAmounts(
  { uncopiedSeconds, isCopyFailing, prunedEntries, nextPruningAt, startGapSeconds, now }: LogSources,
  registers: Registry[],
): void {
  const untilPruning = (): number | undefined => {
    const at = nextPruningAt();
    return at && (at.getTime() - now().getTime()) / 1000;
  };
  const copyFailing = (): number | undefined => {
    const is = isCopyFailing();
    return is === undefined ? undefined : Number(is);
  };
  for (const [name, help, value] of [
    [
      'chancery_checkpoint_uncopied_seconds',
      'For how long a signed checkpoint of the audit log has waited for its copy, in audit.checkpointCopies or at ' +
        'audit.checkpointWebhook; 0 if the newest one is there. Only where copies are made.',
      uncopiedSeconds,
    ],
    [
      'chancery_checkpoint_copy_failing',
      '1 while checkpoints cannot be copied to audit.checkpointCopies or audit.checkpointWebhook; the log says why.',
      copyFailing,
    ],
    [
      'chancery_audit_pruned_entries',
      'Entries that the audit log is pruned of. Only with audit.keep, which is looked at once a minute.',
      prunedEntries,
    ],
    [
      'chancery_audit_next_pruning_seconds',
      'Until the next 65,536 entries of the audit log go. Only with audit.keep, and where nothing but time is awaited.',
      untilPruning,
    ],
    [
      'chancery_start_gap_seconds',
      'How old the newest record was when the CA started. Only in its first hour, in which nothing old is removed.',
      startGapSeconds,
    ],
  ] as const)
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const found = value();
        if (found === undefined) this.remove();
        else this.set(found);
      },
    });
}

function addFlags({ isLogFailing, isHeld }: LogSources, registers: Registry[]): void {
  for (const [name, help, is] of [
    [
      'chancery_audit_log_failing',
      '1 while the signed audit log does not grow; the log of the CA says why.',
      isLogFailing,
    ],
    [
      'chancery_issuing_held',
      '1 while a restored CA issues nothing and waits for what gateways hand back; /readyz says for whom.',
      isHeld,
    ],
  ] as const)
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(is() ? 1 : 0);
      },
    });
}

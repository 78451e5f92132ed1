/** `audit status`: how large the audit log is, how long it is kept, and what goes next. */
import type { AuditStatus } from '@chancery/proto/gen/chancery/v1/serving.ts';
import type { ExitStatus, Invocation, Io } from '@chancery/shared/cli/program.ts';
import { instant, printJson } from '../flags.ts';
import { callOperator } from '../operator/admin.ts';

/** Asks the CA. */
export async function auditStatus(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const status = await callOperator(invocation, (client) => client.getAuditStatus, {});
  if (invocation.has('json')) printJson(io, status);
  else
    io.out(
      statusLines(status)
        .map((line) => `${line}\n`)
        .join(''),
    );
  return 0;
}

/** For a person. */
export function statusLines(status: AuditStatus): readonly string[] {
  const { entries, pruned, keepSeconds, nextAt, together, lacking, certificateDays } = status;
  const held = `${entries} entries are signed, ${pruned} of them are pruned`;
  const certificates = `records of certificates go ${certificateDays} days after their end`;
  if (keepSeconds === 0n) return [held, 'entries are kept for ever (audit.keep is not set)', certificates];
  const keep = `entries are kept for ${days(keepSeconds)}, and pruned ${together} together`;
  const next =
    nextAt > 0n
      ? `the next ${together} go at ${instant(nextAt)}, or within a minute after it`
      : lacking > 0n
        ? `none can go before ${lacking} more have come: the newest stay`
        : 'when the next go is not known yet: they are still being indexed';
  return [held, keep, next, certificates];
}

const days = (seconds: bigint): string => {
  const hours = Number(seconds) / 3600;
  return hours % 24 === 0 ? `${hours / 24} d` : `${Math.round(hours * 10) / 10} h`;
};

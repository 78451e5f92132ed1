/** `audit status`: how large the audit log is, how long it is kept, and what goes next. */
import type { AuditStatus } from '@chancery/proto/gen/chancery/v1/serving.ts';
import type { ExitStatus, Invocation, Io } from '@chancery/shared/cli/program.ts';
import { instant, printJson } from '../flags.ts';
import { callOperator } from '../operator/admin.ts';

/** Throws what the call throws. */
export const askStatus = (invocation: Invocation): Promise<AuditStatus> =>
  callOperator(invocation, (client) => client.getAuditStatus, {});

/** Asks the CA. */
export async function auditStatus(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const status = await askStatus(invocation);
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
  const { entries, pruned } = status;
  const held = `${entries} entries are signed, ${pruned} of them are pruned`;
  return [held, ...growthLines(status), ...keptLines(status)];
}

/** Why the log does not grow, and what waits for it; none while all is in it. */
export function growthLines({ standstill, standstillSince, ...status }: AuditStatus): readonly string[] {
  const { waiting, waitingSince } = status;
  const stands =
    standstill === '' ? [] : [`the log does not grow since ${instant(standstillSince)}: ${standstill}`];
  const wait =
    waiting === 0n ? [] : [`${waiting} events since ${instant(waitingSince)} wait to be entries of the log`];
  return [...stands, ...wait];
}

function keptLines(status: AuditStatus): readonly string[] {
  const { keepSeconds, nextAt, together, lacking, certificateDays } = status;
  const certificates = `records of certificates go ${certificateDays} days after their end`;
  if (keepSeconds === 0n) return ['entries are kept for ever (audit.keep is not set)', certificates];
  const keep = `entries are kept for ${days(keepSeconds)}, and pruned ${together} together`;
  const next =
    nextAt > 0n
      ? `the next ${together} go at ${instant(nextAt)}, or within a minute after it`
      : lacking > 0n
        ? `none can go before ${lacking} more have come: the newest stay`
        : 'when the next go is not known yet: they are still being indexed';
  return [keep, next, certificates];
}

const days = (seconds: bigint): string => {
  const hours = Number(seconds) / 3600;
  return hours % 24 === 0 ? `${hours / 24} d` : `${Math.round(hours * 10) / 10} h`;
};

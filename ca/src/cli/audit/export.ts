/** `audit export`: entries of the log as JSON, one a line, for other systems. */
import type { AuditEntry } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { AuditStatus } from '@chancery/proto/gen/chancery/v1/serving.ts';
import { ocsfOf } from '@chancery/shared/audit/ocsf.ts';
import {
  type ExitStatus,
  type Invocation,
  type Io,
  MisuseError,
  meant,
} from '@chancery/shared/cli/program.ts';
import { unixSeconds } from '@chancery/shared/ground/clock.ts';
import { Bar } from '../bar.ts';
import { askAudit, PAGE, queryOf } from './query.ts';
import { askStatus, growthLines } from './status.ts';

const FORMATS: Readonly<Record<string, (entry: AuditEntry) => string>> = {
  json: ({ index, text }) => `{"entry":${index},${text.slice(1)}`,
  ocsf: ({ index, text }) => JSON.stringify(ocsfOf(text, Number(index))),
};

/** Prints what the log has when it begins, page by page, in its order; events of the last second are not in it yet. */
export async function exportEntries(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const request = queryOf(invocation, new Date());
  const name = invocation.text('format') ?? 'json';
  const names = Object.keys(FORMATS);
  const format = Object.hasOwn(FORMATS, name) ? FORMATS[name] : undefined;
  if (format === undefined)
    throw new MisuseError(`--format is one of ${names.join(', ')}${meant(name, names)}`);
  const bar = new Bar(io);
  let [place, end]: [bigint | undefined, bigint | undefined] = [undefined, undefined];
  try {
    for (let more = true; more; ) {
      io.signal.throwIfAborted();
      const page = await askAudit(invocation, {
        ...request,
        limit: PAGE,
        ...(place !== undefined && { place }),
      });
      end ??= page.newest;
      const integrated = page.entries.filter(({ index }) => index !== undefined);
      bar.clear();
      if (integrated.length > 0) io.out(`${integrated.map(format).join('\n')}\n`);
      ({ place } = page);
      bar.show('the log', Number(place), Number(end));
      more = page.more && place < end && integrated.length === page.entries.length;
    }
  } finally {
    bar.clear();
  }
  const late = lateLines(await askStatus(invocation), new Date());
  for (const line of late) io.err(`${line}\n`);
  return late.length === 0 ? 0 : 1;
}

/** An event is in the log within a second or two, on a machine with much to do a few more. */
const LATE_SECONDS = 60n;

/** What was not printed because it is not in the log, though it should be. */
export function lateLines(status: AuditStatus, now: Date): readonly string[] {
  const { waitingSince, waiting, standstill } = status;
  const isLate = waiting > 0n && unixSeconds(now) - waitingSince > LATE_SECONDS;
  if (standstill === '' && !isLate) return [];
  return [...growthLines(status), 'they are not printed: chancery-ca audit query shows them'];
}

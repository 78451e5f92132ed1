/** `audit export`: entries of the log as JSON, one a line, for other systems. */
import type { AuditEntry } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { ocsfOf } from '@chancery/shared/audit/ocsf.ts';
import {
  type ExitStatus,
  type Invocation,
  type Io,
  MisuseError,
  meant,
} from '@chancery/shared/cli/program.ts';
import { Bar } from '../bar.ts';
import { askAudit, PAGE, queryOf } from './query.ts';

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
  return 0;
}

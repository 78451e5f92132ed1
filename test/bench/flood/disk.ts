/** What refusals have left on disk: rows of the CA's audit log, records of a gateway, and lines of their logs. */
import { readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

export interface Moment {
  readonly at: number;
  /** Characters of all logs so far. */
  readonly logged: number;
}

/** Bytes of the refusals in a stopped CA's database, between two times. */
export function auditBytes(database: string, from: number, to: number): number {
  const open = new DatabaseSync(database, { readOnly: true });
  try {
    const row = open
      .prepare(
        `SELECT coalesce(sum(length(event)), 0) AS bytes FROM audit
         WHERE at >= ? AND at < ? AND event LIKE '%"request.refused"%'`,
      )
      .get(from, to);
    return Number(row?.['bytes']);
  } finally {
    open.close();
  }
}

/** Bytes of a gateway's records that refuse, between two times. */
export function recordBytes(file: string, from: number, to: number): number {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  return lines.reduce((sum, line) => {
    const { time, allow } = JSON.parse(line) as { time: string; allow?: boolean };
    const at = Date.parse(time);
    return allow === false && at >= from && at < to ? sum + line.length + 1 : sum;
  }, 0);
}

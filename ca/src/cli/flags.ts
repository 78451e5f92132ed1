/** Flags that several commands share. */
import { existsSync } from 'node:fs';
import type { Flag, Invocation, Io } from '@chancery/shared/cli.ts';
import { printable } from '@chancery/shared/text/printable.ts';

const SYSTEM_CONFIG = '/etc/chancery/ca.yaml';

export const CONFIG_FLAG = {
  config: {
    type: 'string',
    short: 'c',
    value: 'FILE',
    says: `The CA's config (default: ./ca.yaml, else ${SYSTEM_CONFIG}).`,
  },
} as const satisfies Record<string, Flag>;

export const JSON_FLAG = {
  json: { type: 'boolean', says: 'Print JSON.' },
} as const satisfies Record<string, Flag>;

export function configFile(invocation: Invocation): string {
  return invocation.text('config') ?? (existsSync('ca.yaml') ? 'ca.yaml' : SYSTEM_CONFIG);
}

/** bigint has no JSON; every one of ours fits a number. */
export function printJson(io: Io, value: unknown): void {
  io.out(
    `${JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? Number(each) : each), 2)}\n`,
  );
}

/** Columns wide enough for their longest cell. A cell cannot begin a line. */
export function printTable(
  io: Pick<Io, 'out'>,
  head: readonly string[],
  given: readonly (readonly string[])[],
): void {
  const rows = given.map((row) => row.map(printable));
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  io.out(`${[head, ...rows].map(line).join('\n')}\n`);
}

export const instant = (seconds: bigint): string => new Date(Number(seconds) * 1000).toISOString();

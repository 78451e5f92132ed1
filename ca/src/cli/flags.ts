/** Flags that several commands share. */
import { existsSync } from 'node:fs';
import type { Unacknowledged } from '@chancery/proto/gen/chancery/v1/operator.ts';
import type { Flag, Invocation, Io } from '@chancery/shared/cli/program.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
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

export const CA_FLAG = {
  ca: {
    type: 'string',
    value: 'HOST:PORT',
    says: 'A CA where you are signed in (chancery-ca login), instead of the one of a config on this machine.',
  },
} as const satisfies Record<string, Flag>;

/** Of every command that asks a running CA. */
export const OPERATOR_FLAGS = { ...CONFIG_FLAG, ...CA_FLAG } as const satisfies Record<string, Flag>;

export const SHARED_IDS_FLAG = {
  'allow-shared-server-ids': {
    type: 'boolean',
    says: "Accept templates that can give a server's SPIFFE ID on another platform.",
  },
} as const satisfies Record<string, Flag>;

/** The config that a command means; undefined if none is named and none is there. */
export const foundConfig = (invocation: Invocation): string | undefined =>
  invocation.text('config') ?? ['ca.yaml', SYSTEM_CONFIG].find((path) => existsSync(path));

/** `hint` ends the error if there is no config. Throws config. */
export function configFile(invocation: Invocation, hint = ''): string {
  const found = foundConfig(invocation);
  const says = `neither ./ca.yaml nor ${SYSTEM_CONFIG} is there; name one with --config${hint}`;
  if (found === undefined) throw new IdentityError('config', says);
  return found;
}

/** Fields with seconds since 1970 in answers of the CA; 0 means not set. */
const TIMES = new Set([
  'connectedAt',
  'certificateNotAfter',
  'notBefore',
  'notAfter',
  'recordedAt',
  'at',
  'until',
  'since',
  'lastUse',
  'ownerSeen',
  'reviewBy',
  'signedOffAt',
  'movedAt',
  'nextAt',
  'awaySince',
]);

/** Prints times as RFC 3339, or null. JSON has no bigint; all other values fit a number. */
export function printJson(io: Io, value: unknown): void {
  const plain = (key: string, each: unknown): unknown => {
    if (typeof each !== 'bigint') return each;
    if (!TIMES.has(key)) return Number(each);
    return each === 0n ? null : instant(each);
  };
  io.out(`${JSON.stringify(value, plain, 2)}\n`);
}

/** To standard error, one line each: standard output may be JSON. */
export function printWarnings(io: Io, warnings: readonly string[]): void {
  for (const each of warnings) io.err(`warning: ${printable(each)}\n`);
}

/**
 * Prints columns that fit their longest cell. If the terminal is too narrow, prints one cell per line and an empty line
 * between rows, so that nothing is cut off. A cell cannot begin a line.
 */
export function printTable(
  io: Pick<Io, 'out' | 'columns'>,
  head: readonly string[],
  given: readonly (readonly string[])[],
): void {
  const rows = given.map((row) => row.map(printable));
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const total = widths.reduce((sum, width) => sum + width + 2, -2);
  if (rows.length > 0 && total > (io.columns ?? Number.POSITIVE_INFINITY)) {
    const wide = Math.max(...head.map((title) => title.length));
    const block = (row: readonly string[]) =>
      row.map((cell, column) => `${(head[column] ?? '').padEnd(wide)}  ${cell}`).join('\n');
    io.out(`${rows.map(block).join('\n\n')}\n`);
    return;
  }
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  io.out(`${[head, ...rows].map(line).join('\n')}\n`);
}

/** What a command says where the answer lacks what every CA of this release sends. */
export const olderCa = (unknown: string): string =>
  `${unknown} is not known: the CA that runs is of an older release. Restart it with this one`;

/**
 * Says who has not acknowledged a change. The CA waits up to a second for the connected agents before it answers.
 * `behind` is undefined if an older CA does not say it.
 */
export function printUnacknowledged(io: Pick<Io, 'out' | 'err'>, behind: Unacknowledged | undefined): void {
  if (behind === undefined) {
    io.err(`${olderCa('who has not acknowledged it')}\n`);
    return;
  }
  const { connected, names, away, awayAtLeast } = behind;
  const many = atLeast(away, awayAtLeast);
  const more =
    connected > names.length ? [`and ${connected - BigInt(names.length)} more: chancery-ca agents`] : [];
  // A CA of an older release counts them and sends no names.
  const [end, list] = names.length === 0 ? ['', []] : [':', [...names, ...more]];
  if (connected === 1n) io.out(`1 connected agent has not acknowledged it yet${end}\n`);
  if (connected > 1n) io.out(`${connected} connected agents have not acknowledged it yet${end}\n`);
  if (connected > 0n) for (const each of list) io.out(`  ${printable(each)}\n`);
  if (away === 1n) io.out('1 agent or job without a trust stream hears of it when it connects\n');
  if (away > 1n) io.out(`${many} agents or jobs without a trust stream hear of it when they connect\n`);
}

/** A count, where the CA may not have counted all. */
export const atLeast = (count: bigint, isMore: boolean): string => `${isMore ? 'at least ' : ''}${count}`;

/** Seconds since 1970 as ISO 8601, in UTC. */
export const instant = (seconds: bigint): string => new Date(Number(seconds) * 1000).toISOString();

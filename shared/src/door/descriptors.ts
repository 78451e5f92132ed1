/**
 * Divides the file descriptors of this process among its ports, so that connections never take the last ones: the
 * operator, the database and the platforms need some at any time.
 */
import { readFileSync } from 'node:fs';
import { ensure } from '../ground/errors.ts';

export interface Port {
  /** Connections wanted. */
  readonly wanted: number;
  /** Descriptors that each connection holds. */
  readonly each: number;
  /** The part of the descriptors that this port gets if not all can have what they want. All parts add up to 1. */
  readonly part: number;
}

/** The least descriptors for connections. */
const LEAST = 128;
/** The limit if the system does not say. */
const UNKNOWN = 4_096;

/** The soft limit, which Node raises to the hard one at its start. */
export function openFilesLimit(
  read: () => string = () => readFileSync('/proc/self/limits', 'latin1'),
): number {
  let limits: string;
  try {
    limits = read();
  } catch {
    return UNKNOWN;
  }
  const [, soft] = /^Max open files\s+(\d+|unlimited)\s/m.exec(limits) ?? [];
  if (soft === 'unlimited') return Number.POSITIVE_INFINITY;
  return soft === undefined ? UNKNOWN : Number(soft);
}

/** Connections that each port may have while `reserved` descriptors stay free. Throws config. */
export function divide<P extends Readonly<Record<string, Port>>>(
  openFiles: number,
  reserved: number,
  ports: P,
): { readonly [name in keyof P]: number } {
  const left = openFiles - reserved;
  const all = Object.values(ports).reduce((sum, { wanted, each }) => sum + wanted * each, 0);
  ensure(
    left >= Math.min(all, LEAST),
    'config',
    `only ${openFiles} open files are allowed, at least ${reserved + LEAST} are needed: raise ulimit -n or LimitNOFILE`,
  );
  const shareOf = ({ wanted, each, part }: Port): number =>
    all <= left ? wanted : Math.min(wanted, Math.floor((left * part) / each));
  const shares = Object.entries(ports).map(([name, port]) => [name, shareOf(port)] as const);
  return Object.fromEntries(shares) as { readonly [name in keyof P]: number };
}

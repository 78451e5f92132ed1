/**
 * Finds the process that listens on a TCP port, from /proc, for error texts. Finds only processes that this user may
 * inspect. Linux.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** proc_pid_net(5): the state of a socket that listens. */
const LISTENS = '0A';
/** How many processes are searched: more would take too long for an error text. */
const MAX_PROCESSES = 20_000;

/**
 * The process's name and pid, such as `nginx, pid 812`; undefined if it is not found. Blocks for some milliseconds.
 * Throws nothing.
 */
export function listeningProcess(port: number): string | undefined {
  const sockets = new Set(
    ['/proc/net/tcp', '/proc/net/tcp6']
      .flatMap((table) => listeners(table, port))
      .map((inode) => `socket:[${inode}]`),
  );
  if (sockets.size === 0) return undefined;
  const pids = quietly(() => readdirSync('/proc').filter((name) => /^\d+$/.test(name)), []);
  const pid = pids.slice(0, MAX_PROCESSES).find((each) => holdsOneOf(sockets, `/proc/${each}/fd`));
  if (pid === undefined) return undefined;
  return quietly(() => `${readFileSync(`/proc/${pid}/comm`, 'utf8').trim()}, pid ${pid}`, undefined);
}

function listeners(table: string, port: number): readonly string[] {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const lines = quietly(() => readFileSync(table, 'latin1').split('\n'), []);
  return lines.flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    return state === LISTENS && local.endsWith(wanted) ? [inode] : [];
  });
}

function holdsOneOf(sockets: ReadonlySet<string>, folder: string): boolean {
  const descriptors = quietly(() => readdirSync(folder), []);
  return descriptors.some((name) => sockets.has(quietly(() => readlinkSync(`${folder}/${name}`), '')));
}

/** A process may end, or be hidden, during the search. */
function quietly<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}

/**
 * Who dials a local listener, by the kernel's word. A unix socket names its peer; for loopback TCP on Linux the socket
 * table does. Elsewhere a TCP caller cannot be told, and the unix socket is the one to use.
 */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { ensure, refusalOf } from '@chancery/shared/errors.ts';
import { peerOf } from '@chancery/shared/peer-credentials.ts';

const TABLE = '/proc/net/tcp';

/** Throws peer_unknown, peer_uid. `platform` is `process.platform`'s. */
export function ensureOwnUser(socket: Socket, uid: number, platform: NodeJS.Platform): void {
  const local = socket.remoteAddress === undefined;
  if (!local && platform !== 'linux') return;
  const peer = local ? peerOf(socket).uid : uidInTable(readTable(), socket);
  ensure(peer === uid, 'peer_uid', `the caller is uid ${peer}, not ${uid}`);
}

function readTable(): string {
  try {
    return readFileSync(TABLE, 'latin1');
  } catch (error) {
    throw refusalOf(error, 'peer_unknown', `${TABLE} cannot be read`);
  }
}

/** proc(5): the line whose local address is our peer's and whose remote address is ours has the peer's uid eighth. */
export function uidInTable(table: string, socket: Pick<Socket, AddressKey>): number {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  const wanted = `${tableAddress(remoteAddress, remotePort)} ${tableAddress(localAddress, localPort)}`;
  for (const line of table.split('\n')) {
    const [, local, remote, , , , , uid] = line.trim().split(/\s+/);
    if (`${local} ${remote}` === wanted && uid !== undefined) return Number(uid);
  }
  throw refusalOf(undefined, 'peer_unknown', 'the socket table does not have the caller');
}

type AddressKey = 'remoteAddress' | 'remotePort' | 'localAddress' | 'localPort';

/** Little-endian hexadecimal, as the table has it on the machines that Node runs on. */
function tableAddress(address: string | undefined, port: number | undefined): string {
  const bytes = (address ?? '').split('.').map(Number).reverse();
  const host = Buffer.from(bytes).toString('hex').toUpperCase();
  return `${host}:${(port ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
}

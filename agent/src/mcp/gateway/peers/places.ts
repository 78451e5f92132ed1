/** How many connections a gateway may have, and whose. */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionSettings, Connections } from '@chancery/shared/door/connections.ts';
import { divide, openFilesLimit } from '@chancery/shared/door/descriptors.ts';
import { shareKeys } from '@chancery/shared/door/keys.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { HEALTH_CONNECTIONS } from '@chancery/shared/health/server.ts';

/** For records, keys, the agent's own sockets, its CA and child processes. */
const RESERVED_FILES = 256 + HEALTH_CONNECTIONS;
const CERTIFIED = 10_000;
const STRANGERS = 1_024;
/** Strangers are those whose handshake is not done; a pool of connections begins at once. */
const PER_STRANGER = 128;
/** As many as four pools of connect can have. */
const PER_CERTIFICATE = 1_024;
/** Of all callers' connections, those of one SPIFFE ID: several machines may have it. */
const PART_OF_CALLER = 0.5;

/** A request may need a connection to the MCP server, too. Throws config. */
export function placesOf({
  connections,
  log,
}: {
  readonly connections?: Partial<ConnectionSettings>;
  readonly log: Log;
}): Connections {
  const { certified, strangers } = divide(openFilesLimit(), RESERVED_FILES, {
    certified: { wanted: CERTIFIED, each: 2, part: 0.75 },
    // As many again before their first byte.
    strangers: { wanted: STRANGERS, each: 2, part: 0.25 },
  });
  const places = { certified, strangers, perStranger: PER_STRANGER, perCertificate: PER_CERTIFICATE };
  const perHolder = Math.ceil((connections?.certified ?? certified) * PART_OF_CALLER);
  return new Connections({ ...places, perHolder, ...connections }, ({ message }) => log.debug({}, message));
}

/** Of a stranger: its IPv4 address, or the /48 of its IPv6 address, since one site has all addresses below that. */
export function addressOf(socket: Duplex): string {
  const address = socket instanceof Socket ? (socket.remoteAddress ?? '') : '';
  const { address: single, network } = shareKeys(address);
  return network ?? single;
}

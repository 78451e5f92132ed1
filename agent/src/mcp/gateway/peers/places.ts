/** How many connections a gateway may have, in all and by caller. */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionSettings, Connections } from '@chancery/shared/door/connections.ts';
import { divide, openFilesLimit } from '@chancery/shared/door/descriptors.ts';
import { shareKeys } from '@chancery/shared/door/keys.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { PLAIN_CONNECTIONS } from '@chancery/shared/health/plain.ts';

/** Descriptors for records, keys, the agent's own sockets, its CA and child processes. */
const RESERVED_FILES = 256 + PLAIN_CONNECTIONS;
const CERTIFIED = 10_000;
const STRANGERS = 1_024;
/** A stranger is a peer before the end of its handshake. A pool opens many connections at once. */
const PER_STRANGER = 128;
/** Four full pools of `connect`. */
const PER_CERTIFICATE = 1_024;
/** The part of all connections that one SPIFFE ID may have: several machines may share it. */
const PART_OF_CALLER = 0.5;

/** Counts two descriptors for a caller's connection: a request may need one to the MCP server. Throws config. */
export function placesOf({
  connections,
  log,
}: {
  readonly connections?: Partial<ConnectionSettings>;
  readonly log: Log;
}): Connections {
  const { certified, strangers } = divide(openFilesLimit(), RESERVED_FILES, {
    certified: { wanted: CERTIFIED, each: 2, part: 0.75 },
    // As many again are strangers before their first byte.
    strangers: { wanted: STRANGERS, each: 2, part: 0.25 },
  });
  const places = { certified, strangers, perStranger: PER_STRANGER, perCertificate: PER_CERTIFICATE };
  const perHolder = Math.ceil((connections?.certified ?? certified) * PART_OF_CALLER);
  return new Connections({ ...places, perHolder, ...connections }, ({ message }) => log.debug({}, message));
}

/** The address of a stranger for records: IPv4, or the /48 of IPv6, since one site has all addresses below that. */
export function addressOf(socket: Duplex): string {
  const address = socket instanceof Socket ? (socket.remoteAddress ?? '') : '';
  const { address: single, network } = shareKeys(address);
  return network ?? single;
}

/** The IP address at the peer's end, as conditions read it: of IPv6 the short form (RFC 5952), without a zone. */
export function sourceOf({ remoteAddress }: Socket): string | undefined {
  return remoteAddress?.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
}

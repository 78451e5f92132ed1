/** How many connections each port of the CA may have, within the limit of open files. */

import { type ConnectionSettings, Connections } from '@chancery/shared/door/connections.ts';
import { divide } from '@chancery/shared/door/descriptors.ts';
import { SlowAddresses } from '@chancery/shared/door/slow-addresses.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { PLAIN_CONNECTIONS } from '@chancery/shared/health/plain.ts';
import type { TurnedAwayLog } from './turned-away.ts';

export interface DoorSettings {
  readonly connections: number;
  readonly strangerConnections: number;
  readonly connectionsPerCaller: number;
}

export interface Doors {
  readonly tls: Connections;
  readonly join: Connections;
  readonly admin: Connections;
  /** Of the TLS port. */
  readonly slow: SlowAddresses;
}

const ADMIN = 16;
const JOIN = 256;
/** The socket, the folder of its process in /proc, and its pidfd. */
const LOCAL_DESCRIPTORS = 3;
/** For the operator, probes, revocation lists, the database, keys, logs and questions to platforms. */
const RESERVED = 256 + ADMIN * LOCAL_DESCRIPTORS + 2 * PLAIN_CONNECTIONS;

export interface DoorDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly turnedAway: TurnedAwayLog;
}

/** Throws config if `openFiles` is too low for any service. */
export function openDoors(
  settings: DoorSettings,
  openFiles: number,
  { clock, log, turnedAway }: DoorDeps,
): Doors {
  const wanted = { certified: settings.connections, strangers: settings.strangerConnections, join: JOIN };
  const shares = divide(openFiles, RESERVED, {
    certified: { wanted: wanted.certified, each: 1, part: 0.6 },
    // As many again before their first byte, and as many again that wait.
    strangers: { wanted: wanted.strangers, each: 3, part: 0.25 },
    join: { wanted: wanted.join, each: LOCAL_DESCRIPTORS, part: 0.15 },
  });
  if (shares.certified < wanted.certified)
    log.warn(
      { openFiles, connections: shares.certified, strangerConnections: shares.strangers },
      'the limit of open files is too low for limits.connections; fewer connections are accepted',
    );
  const each = settings.connectionsPerCaller;
  const { certified, strangers } = shares;
  const door = (part: Partial<ConnectionSettings> & Pick<ConnectionSettings, 'strangers'>): Connections =>
    new Connections({ perStranger: each, certified: 0, perCertificate: 0, perHolder: 0, ...part }, onRefused);
  const onRefused = ({ code, message }: IdentityError): void => {
    log.debug({}, message);
    if (code === 'rate') turnedAway.tell({ what: 'connections', whose: 'anyone' }, message);
  };
  return {
    // Many nodes may have one SPIFFE ID.
    tls: door({ strangers, certified, perCertificate: each, perHolder: certified }),
    join: door({ strangers: shares.join }),
    admin: door({ strangers: ADMIN, perStranger: ADMIN }),
    slow: new SlowAddresses(clock),
  };
}

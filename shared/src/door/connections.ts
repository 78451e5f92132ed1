/**
 * The connections of one port. Each takes a place on arrival, before a byte of it is read. If peers speak first, it
 * costs nothing more until its first byte. Strangers have a share for each address, uid and network; when their places
 * are full, the longest silent connection of the key that holds most gives way. Once a peer has shown a good
 * certificate, it counts by its holder, from any address: no stranger can push it out, and a new holder replaces a
 * connection of the largest one.
 */
import type { Server, Socket } from 'node:net';
import { type IdentityError, refusalOf } from '../ground/errors.ts';
import { onFirstByte } from './first-byte.ts';
import { NETWORK_SHARES, type ShareKeys, shareKeys } from './keys.ts';
import { type PlaceSettings, Places, type Tenant } from './places.ts';
import type { SlowAddresses } from './slow-addresses.ts';

export interface ConnectionSettings {
  /**
   * Connections without a certificate, and how many of them one address or uid may have. A port that waits for the
   * first byte has three pools of this size: silent, handshaking, waiting.
   */
  readonly strangers: number;
  readonly perStranger: number;
  /** Connections with a good certificate, and how many one certificate and one holder may have. */
  readonly certified: number;
  readonly perCertificate: number;
  readonly perHolder: number;
}

/** How a connection begins whose peer speaks first. */
export interface Opening {
  /** A connection without a byte for this long is reset. */
  readonly firstByteMs: number;
}

/** How a connection counts once its certificate is known. */
export interface CertifiedPeer {
  readonly serial: string;
  /** The owner of the certificate, who may have several: shares by certificate alone would favour owners of many. */
  readonly holder: string;
  /** Called instead of the port's listener if the connection is refused or gives way. */
  readonly onLost?: (refusal: IdentityError) => void;
}

export interface Connection {
  /** Moves it to the places of certified peers. False if none is free: the connection has ended. */
  certify(certified: CertifiedPeer): boolean;
  /**
   * Resolves when a peer under these keys has waited, if it must. Meanwhile a stranger has a place among the waiting
   * ones, which connections before their handshake cannot push out. False if the connection has ended.
   */
  wait(slow: SlowAddresses, keys: ShareKeys): Promise<boolean>;
  /**
   * A complete request waits for its answer. Until the returned function is called, the connection does not give way,
   * except as one of the largest holder.
   */
  answer(): () => void;
}

/** So many strangers at one address do not make it the first to give way. */
const FEW = 8;

/** Gives each connection of one port its place, and ends those that give way. */
export class Connections {
  /** Connections without a byte. */
  readonly #mute: Places;
  readonly #strangers: Places;
  readonly #waiting: Places;
  readonly #certified: Places;
  readonly #onRefused: (refusal: IdentityError) => void;
  readonly #byPeer = new Map<string, Connection>();

  /** `onRefused` is called for each connection that is refused or gives way. */
  constructor(
    { strangers, perStranger, certified, perCertificate, perHolder }: ConnectionSettings,
    onRefused: (refusal: IdentityError) => void,
  ) {
    const ofStrangers: PlaceSettings = {
      what: 'connections',
      total: strangers,
      perAddress: perStranger,
      perNetwork: perStranger * NETWORK_SHARES,
      few: FEW,
      givesWay: 'anyone',
      replacesOwn: true,
    };
    this.#mute = new Places(ofStrangers);
    this.#strangers = new Places(ofStrangers);
    this.#waiting = new Places(ofStrangers);
    this.#certified = new Places({
      what: 'connections',
      total: certified,
      perAddress: perCertificate,
      perNetwork: perHolder,
      few: 1,
      givesWay: 'larger',
      replacesOwn: true,
    });
    this.#onRefused = onRefused;
  }

  /** How many connections are open. */
  get open(): { readonly strangers: number; readonly certified: number } {
    const strangers = this.#mute.open + this.#strangers.open + this.#waiting.open;
    return { strangers, certified: this.#certified.open };
  }

  /**
   * Gives a TCP server only the connections that got a place. With `opening`, the server gets each at the peer's first
   * byte; until then they have places of their own.
   */
  guard(server: Server, opening?: Opening): void {
    const listeners = server.listeners('connection');
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => {
      const serve = (): void => {
        // The server may have begun to close meanwhile.
        if (!server.listening) socket.destroy();
        else if (this.#admit(socket)) for (const listener of listeners) listener.call(server, socket);
      };
      if (opening === undefined) serve();
      else this.#holdBack(socket, opening, serve);
    });
  }

  /** A flood of silent connections does not push out one with a byte. */
  #holdBack(socket: Socket, { firstByteMs }: Opening, serve: () => void): void {
    const keys = keysOf(socket);
    const lose = (reason: IdentityError): void => {
      this.#onRefused(reason);
      // Nothing has been sent to this peer, and a reset leaves no state in the kernel.
      socket.resetAndDestroy();
    };
    const place = takePlace(this.#mute, keys, { lose });
    if (place === undefined) return;
    socket.once('close', place.leave).on('error', () => {});
    onFirstByte(socket, firstByteMs, () => {
      place.leave();
      serve();
    });
  }

  #admit(socket: Socket): boolean {
    const peer = peerOf(socket);
    const connection = peer === undefined ? undefined : this.arrive(socket, keysOf(socket));
    if (peer === undefined || connection === undefined) {
      socket.destroy();
      return false;
    }
    this.#byPeer.set(peer, connection);
    socket.once('close', () => this.#byPeer.delete(peer));
    return true;
  }

  /** The connection of a guarded server's socket, also after TLS has wrapped it. Undefined once the peer is gone. */
  of(socket: Socket): Connection | undefined {
    return this.#byPeer.get(peerOf(socket) ?? '');
  }

  /**
   * Gives the socket a place until it is closed. Without a place the socket is destroyed, and the result is undefined.
   */
  arrive(socket: Socket, keys: ShareKeys): Connection | undefined {
    let read = socket.bytesRead;
    const heard = (): boolean => {
      const before = read;
      read = socket.bytesRead;
      return read > before;
    };
    let onLost = this.#onRefused;
    const lose = (reason: IdentityError): void => {
      onLost(reason);
      socket.destroy();
    };
    const tenant = { lose, heard };
    let place = takePlace(this.#strangers, keys, tenant);
    if (place === undefined) return undefined;
    let isCertified = false;
    socket.once('close', () => place?.leave());
    return {
      wait: (slow, by) =>
        new Promise((resolve) => {
          const move = (to: Places): void => {
            if (isCertified) return;
            place?.leave();
            place = takePlace(to, keys, tenant);
          };
          const go = (): void => {
            move(this.#strangers);
            resolve(place !== undefined && !socket.destroyed);
          };
          if (!slow.has(by)) return go();
          move(this.#waiting);
          const stop = slow.enter(by, go);
          socket.once('close', () => {
            stop();
            resolve(false);
          });
        }),
      certify: (certified) => {
        isCertified = true;
        place?.leave();
        onLost = certified.onLost ?? onLost;
        const { serial, holder } = certified;
        place = takePlace(this.#certified, { address: `certificate ${serial}`, network: holder }, tenant);
        return place !== undefined;
      },
      answer: () => place?.answer() ?? (() => {}),
    };
  }
}

/** The address and network by which a connection is counted. */
export const keysOf = (socket: Socket): ShareKeys => shareKeys(socket.remoteAddress ?? '');

/** Undefined if it gets no place; then `lose` is called. */
function takePlace(places: Places, keys: ShareKeys, tenant: Tenant & Pick<Required<Tenant>, 'lose'>) {
  try {
    return places.take(keys, tenant);
  } catch (error) {
    tenant.lose(refusalOf(error, 'rate', 'no place'));
    return undefined;
  }
}

/** One name for a TCP connection and the TLS above it. Undefined if the peer has left already. */
function peerOf({ remoteAddress, remotePort, localAddress }: Socket): string | undefined {
  return remoteAddress === undefined ? undefined : `${remoteAddress} ${remotePort} ${localAddress}`;
}

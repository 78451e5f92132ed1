/**
 * The connections of one port. Each takes a place as it arrives, before a byte of it is read; on a port whose peers
 * speak first, nothing more is spent on it before a byte has come. Strangers have a share
 * for each address, uid and network; when their places are full, the longest silent connection of the key that holds
 * most gives way. A peer that has shown a good certificate is counted apart from then on, by its holder, wherever it
 * comes from: no stranger can push it out, and a new holder replaces one of the largest.
 */
import type { Server, Socket } from 'node:net';
import { type IdentityError, refusalOf } from '../ground/errors.ts';
import { onFirstByte } from './first-byte.ts';
import { NETWORK_SHARES, type ShareKeys, shareKeys } from './keys.ts';
import { type PlaceSettings, Places, type Tenant } from './places.ts';
import type { SlowAddresses } from './slow-addresses.ts';

export interface ConnectionSettings {
  /**
   * Of peers that have shown no certificate yet, and how many of them one address or uid may have. A port that waits
   * for the first byte has as many again for connections on which none has come, and as many for those that `wait`.
   */
  readonly strangers: number;
  readonly perStranger: number;
  /** Of peers that have shown a good certificate, and how many one certificate and one holder of some may have. */
  readonly certified: number;
  readonly perCertificate: number;
  readonly perHolder: number;
}

/** How a connection begins whose peer speaks first. */
export interface Opening {
  /** One that says nothing for so long is reset. */
  readonly firstByteMs: number;
}

/** By whom a connection counts once its certificate is known. */
export interface Certified {
  readonly serial: string;
  /** Who has the certificate, and may have others: a share by certificate is one for everybody who can get several. */
  readonly holder: string;
  /** Hears instead of everybody's listener that the connection is refused or gives way. */
  readonly onLost?: (refusal: IdentityError) => void;
}

export interface Connection {
  /** Moves it to the places of certified peers. False if none is free: the connection has ended. */
  certify(certified: Certified): boolean;
  /**
   * Resolves when a peer under these keys has waited, where it has to. A stranger has a place meanwhile among those
   * that wait: connections on which no handshake is done push out none of them. False if it has ended.
   */
  wait(slow: SlowAddresses, keys: ShareKeys): Promise<boolean>;
  /**
   * The peer is owed an answer to a request that is whole. Until the returned function is called, the connection gives
   * way to nobody, or only as one of the largest holder.
   */
  answer(): () => void;
}

/** Of strangers behind one address, which does not make them the first to give way. */
const FEW = 8;

/** Gives each connection of one port its place, and ends those that give way. */
export class Connections {
  /** On which no byte has come. */
  readonly #mute: Places;
  readonly #strangers: Places;
  readonly #waiting: Places;
  readonly #certified: Places;
  readonly #onRefused: (refusal: IdentityError) => void;
  readonly #byPeer = new Map<string, Connection>();

  /** `onRefused` hears of each connection that is refused or gives way. */
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

  get open(): { readonly strangers: number; readonly certified: number } {
    const strangers = this.#mute.open + this.#strangers.open + this.#waiting.open;
    return { strangers, certified: this.#certified.open };
  }

  /**
   * Lets a TCP server have only the connections that got a place. With `opening` it gets each of them with the peer's
   * first byte, and until then they have places of their own.
   */
  guard(server: Server, opening?: Opening): void {
    const listeners = server.listeners('connection');
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => {
      const serve = (): void => {
        // While it waited, the server may have begun to close.
        if (!server.listening) socket.destroy();
        else if (this.#admit(socket)) for (const listener of listeners) listener.call(server, socket);
      };
      if (opening === undefined) serve();
      else this.#holdBack(socket, opening, serve);
    });
  }

  /** A flood of connections that say nothing pushes out none on which a byte has come. */
  #holdBack(socket: Socket, { firstByteMs }: Opening, serve: () => void): void {
    const keys = keysOf(socket);
    const lose = (reason: IdentityError): void => {
      this.#onRefused(reason);
      // Nothing is on its way to this peer. A reset leaves nothing behind in the kernel.
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

  /** Of a guarded server; TLS may have wrapped the socket since. Undefined once the peer is gone. */
  of(socket: Socket): Connection | undefined {
    return this.#byPeer.get(peerOf(socket) ?? '');
  }

  /** Gives it a place until it is closed; one that gets none is destroyed, and the answer is undefined. */
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

/** Undefined if it gets none, which is told to `lose`. */
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

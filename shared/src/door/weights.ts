/**
 * Bytes of unfinished messages and of open streams, counted for the connection, address and network that sent them. If
 * all together hold too many, the oldest of the network that holds most is given up. If no network holds more than an
 * honest one may, the oldest of all is given up, so that many small networks do not push out one large message.
 */
import { ensure, IdentityError } from '../ground/errors.ts';
import type { ShareKeys } from './keys.ts';

export interface WeightSettings {
  readonly total: number;
  readonly perConnection: number;
  readonly perAddress: number;
  readonly perNetwork: number;
  /** Networks that hold at most this much are treated alike; 0 by default. */
  readonly little?: number;
  /** What is counted, as refusals call it: unfinished messages by default. */
  readonly what?: 'unfinished message' | 'open call';
}

/** One unfinished message or open call. */
export interface Weight {
  /** Throws rate when its connection, its address or everybody has too many bytes. */
  add(bytes: number): void;
  /** It is whole, closed or given up: all its bytes are free again. */
  free(): void;
}

interface Held {
  readonly keys: readonly (string | object)[];
  bytes: number;
  readonly lose: (reason: IdentityError) => void;
}

/** Limits the bytes that are held. The caller frees each weight that it opens. */
export class Weights {
  readonly #settings: WeightSettings;
  readonly #what: string;
  /** What each network, else address, holds, oldest first. */
  readonly #byNetwork = new Map<string | object, Set<Held>>();
  /** The oldest first. */
  readonly #all = new Set<Held>();
  readonly #byKey = new Map<string | object, number>();
  #total = 0;

  constructor(settings: WeightSettings) {
    this.#settings = settings;
    this.#what = settings.what ?? 'unfinished message';
  }

  /** Bytes of all connections. */
  get total(): number {
    return this.#total;
  }

  /** `lose` is called when it has to give way. */
  open({ address, network }: ShareKeys, connection: object, lose: Held['lose']): Weight {
    const held: Held = { keys: [connection, address, ...(network ? [network] : [])], bytes: 0, lose };
    return { add: (bytes) => this.#add(held, bytes), free: () => this.#free(held) };
  }

  #add(held: Held, bytes: number): void {
    const { total, perConnection, perAddress, perNetwork } = this.#settings;
    const shares = [perConnection, perAddress, perNetwork];
    for (const [index, key] of held.keys.entries())
      ensure(
        (this.#byKey.get(key) ?? 0) + bytes <= (shares[index] ?? 0),
        'rate',
        `the ${this.#what}s of ${typeof key === 'string' ? key : 'one connection'} take too many bytes`,
      );
    while (this.#total + bytes > total) this.#makeRoom(held);
    const own = this.#byNetwork.get(networkOf(held)) ?? new Set();
    this.#byNetwork.set(networkOf(held), own.add(held));
    this.#all.add(held);
    this.#change(held, bytes);
  }

  #free(held: Held): void {
    const own = this.#byNetwork.get(networkOf(held));
    own?.delete(held);
    if (own?.size === 0) this.#byNetwork.delete(networkOf(held));
    this.#all.delete(held);
    this.#change(held, -held.bytes);
  }

  #change(held: Held, bytes: number): void {
    held.bytes += bytes;
    this.#total += bytes;
    for (const key of held.keys) {
      const sum = (this.#byKey.get(key) ?? 0) + bytes;
      if (sum === 0) this.#byKey.delete(key);
      else this.#byKey.set(key, sum);
    }
  }

  #makeRoom(newcomer: Held): void {
    let [largest, most]: [ReadonlySet<Held> | undefined, number] = [undefined, 0];
    for (const [network, held] of this.#byNetwork) {
      const sum = this.#byKey.get(network) ?? 0;
      if (sum > most) [largest, most] = [held, sum];
    }
    const { little = 0 } = this.#settings;
    const [loser] = most > little ? (largest ?? []) : this.#all;
    if (loser === undefined || loser === newcomer)
      throw new IdentityError('rate', `the ${this.#what}s take too many bytes`);
    this.#free(loser);
    loser.lose(new IdentityError('rate', `an ${this.#what} gave way to another one`));
  }
}

const networkOf = ({ keys }: Held): string | object => keys.at(-1) ?? '';

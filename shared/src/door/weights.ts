/**
 * Bytes of unfinished messages, counted against the connection, address and network that sent them. When all together
 * hold too many, the oldest unfinished message of the network that holds most is given up.
 */
import { ensure, IdentityError } from '../errors.ts';
import type { ShareKeys } from './keys.ts';

export interface WeightSettings {
  readonly total: number;
  readonly perConnection: number;
  readonly perAddress: number;
  readonly perNetwork: number;
}

/** One unfinished message. */
export interface Weight {
  /** Throws rate when its connection, its address or everybody has too many bytes. */
  add(bytes: number): void;
  /** The message is whole or given up: all its bytes are free again. */
  free(): void;
}

interface Held {
  readonly keys: readonly (string | object)[];
  bytes: number;
  readonly lose: (reason: IdentityError) => void;
}

export class Weights {
  readonly #settings: WeightSettings;
  /** Oldest first. */
  readonly #held = new Set<Held>();
  readonly #byKey = new Map<string | object, number>();
  #total = 0;

  constructor(settings: WeightSettings) {
    this.#settings = settings;
  }

  get total(): number {
    return this.#total;
  }

  /** `lose` is called when the message has to give way. */
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
        `the unfinished messages of ${typeof key === 'string' ? key : 'one connection'} are too large`,
      );
    while (this.#total + bytes > total) this.#makeRoom(held);
    this.#held.add(held);
    this.#change(held, bytes);
  }

  #free(held: Held): void {
    this.#held.delete(held);
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
    let loser: Held | undefined;
    // Of equals the first stays the loser: the set is in the order of age.
    for (const held of this.#held)
      if (loser === undefined || this.#sumOf(held) > this.#sumOf(loser)) loser = held;
    if (loser === undefined || loser === newcomer)
      throw new IdentityError('rate', 'too many bytes of unfinished messages');
    this.#free(loser);
    loser.lose(new IdentityError('rate', 'an unfinished message gave way to another one'));
  }

  #sumOf({ keys }: Held): number {
    return this.#byKey.get(keys.at(-1) ?? '') ?? 0;
  }
}

/**
 * A bounded number of places, with a share for each key. When all are taken, the silent holder of the key that holds
 * most gives way, the longest silent first: whoever is being answered keeps its place.
 */
import { ensure, IdentityError } from '../errors.ts';
import type { ShareKeys } from './keys.ts';

export interface PlaceSettings {
  readonly total: number;
  readonly perAddress: number;
  readonly perNetwork: number;
  /** Whether a silent holder gives way when all places are taken; otherwise the newcomer is refused. */
  readonly givesWay: boolean;
}

export interface Place {
  /** Waits for the peer's next message. Throws rate when the place goes to another meanwhile. */
  listen<T>(message: Promise<T>): Promise<T>;
  /** Leaving twice counts once. */
  leave(): void;
}

interface Held {
  readonly keys: ShareKeys;
  /** When it began to wait for its peer, in the order of all such moments; undefined while it is answered. */
  silentSince: number | undefined;
  readonly lose: (reason: IdentityError) => void;
}

export class Places {
  readonly #settings: PlaceSettings;
  readonly #held = new Set<Held>();
  readonly #counts = new Map<string, number>();
  #turn = 0;

  constructor(settings: PlaceSettings) {
    this.#settings = settings;
  }

  get open(): number {
    return this.#held.size;
  }

  /** From 0, all free, to 1, all taken. */
  get pressure(): number {
    return this.#held.size / this.#settings.total;
  }

  /** Throws rate. */
  take(keys: ShareKeys): Place {
    const { total, perAddress, perNetwork } = this.#settings;
    this.#ensureShare(keys.address, perAddress);
    if (keys.network !== undefined) this.#ensureShare(keys.network, perNetwork);
    if (this.#held.size >= total) this.#makeRoom();
    const { promise: lost, reject } = Promise.withResolvers<never>();
    // Nobody listens while the peer is answered.
    lost.catch(() => {});
    const held: Held = { keys, silentSince: this.#next(), lose: reject };
    this.#count(held, 1);
    return {
      listen: async (message) => {
        held.silentSince = this.#next();
        try {
          return await Promise.race([message, lost]);
        } finally {
          held.silentSince = undefined;
        }
      },
      leave: () => this.#count(held, -1),
    };
  }

  #next(): number {
    this.#turn += 1;
    return this.#turn;
  }

  #ensureShare(key: string, share: number): void {
    const open = this.#counts.get(key) ?? 0;
    ensure(open < share, 'rate', `${key} has ${open} exchanges open`);
  }

  #count(held: Held, change: 1 | -1): void {
    const known = this.#held.has(held);
    if (known === change > 0) return;
    if (change > 0) this.#held.add(held);
    else this.#held.delete(held);
    for (const key of [held.keys.address, held.keys.network]) {
      if (key === undefined) continue;
      const count = (this.#counts.get(key) ?? 0) + change;
      if (count === 0) this.#counts.delete(key);
      else this.#counts.set(key, count);
    }
  }

  #makeRoom(): void {
    const { total, givesWay } = this.#settings;
    let loser: Held | undefined;
    if (givesWay)
      for (const held of this.#held)
        if (held.silentSince !== undefined && (loser === undefined || this.#before(held, loser)))
          loser = held;
    if (loser === undefined) throw new IdentityError('rate', `${total} exchanges are open`);
    this.#count(loser, -1);
    loser.lose(new IdentityError('rate', `${loser.keys.address} was silent while all places were taken`));
  }

  /** Whether `one` gives way before `other`. */
  #before(one: Held, other: Held): boolean {
    const [more, fewer] = [this.#holds(one), this.#holds(other)];
    return more === fewer ? (one.silentSince ?? 0) < (other.silentSince ?? 0) : more > fewer;
  }

  #holds({ keys }: Held): number {
    return this.#counts.get(keys.network ?? keys.address) ?? 0;
  }
}

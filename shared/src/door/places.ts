/**
 * A bounded number of places, with a share for each key. When all are taken, the silent holder of the key that holds
 * most gives way, the longest silent first: whoever is being answered keeps its place. Where only a larger key gives
 * way, the largest one does so even if all its places are being answered, because some requests never end.
 */
import { ensure, IdentityError } from '../errors.ts';
import type { ShareKeys } from './keys.ts';

export interface PlaceSettings {
  /** What is held, for messages: `exchanges`, `connections`. */
  readonly what: string;
  readonly total: number;
  readonly perAddress: number;
  readonly perNetwork: number;
  /** Keys that hold at most so many are alike when one has to give way: an honest site opens a few at once, too. */
  readonly few: number;
  /**
   * Who gives way when all places are taken: anyone who is silent, or only a key that holds more than the newcomer's
   * would. The latter is for places whose loss ends the work that is done in them.
   */
  readonly givesWay: 'anyone' | 'larger';
  /** A newcomer whose own share is full takes the place of its own longest silent one; otherwise it is refused. */
  readonly replacesOwn: boolean;
}

/** How a place knows of its holder. */
export interface Tenant {
  /** Called when the place goes to another. */
  readonly lose?: (reason: IdentityError) => void;
  /** Whether the peer was heard since the last call; then it is not yet the longest silent one. */
  readonly heard?: () => boolean;
}

export interface Place {
  /** Waits for the peer's next message. Throws rate when the place goes to another meanwhile. */
  listen<T>(message: Promise<T>): Promise<T>;
  /** The peer is owed an answer, so its place goes to nobody until the returned function is called. */
  answer(): () => void;
  /** Leaving twice counts once. */
  leave(): void;
}

interface Holder {
  readonly key: string;
  readonly held: Set<Held>;
}

interface Held {
  readonly address: Holder;
  readonly network: Holder | undefined;
  /** When it began to wait for its peer, in the order of all such moments. */
  silentSince: number;
  /** Answers that its peer is owed; while there are any it is not silent. */
  owed: number;
  readonly lose: (reason: IdentityError) => void;
  readonly heard: () => boolean;
}

/** Silent ones that turn out to have been heard are passed over so many times for one newcomer. */
const MAX_PASSED_OVER = 16;
const nothing = (): void => {};

export class Places {
  readonly #settings: PlaceSettings;
  readonly #held = new Set<Held>();
  readonly #holders = new Map<string, Holder>();
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
  take(keys: ShareKeys, { lose = nothing, heard = () => false }: Tenant = {}): Place {
    const { total, perAddress, perNetwork } = this.#settings;
    const address = this.#holderOf(keys.address);
    const network = keys.network === undefined ? undefined : this.#holderOf(keys.network);
    this.#ensureShare(address, perAddress);
    if (network !== undefined) this.#ensureShare(network, perNetwork);
    if (this.#held.size >= total) this.#makeRoom((network ?? address).held.size);
    const { promise: lost, reject } = Promise.withResolvers<never>();
    // Nobody listens while the peer is answered.
    lost.catch(nothing);
    const losing = (reason: IdentityError): void => {
      reject(reason);
      lose(reason);
    };
    const held: Held = { address, network, silentSince: this.#next(), owed: 0, lose: losing, heard };
    this.#enter(held);
    return this.#placeOf(held, lost);
  }

  #placeOf(held: Held, lost: Promise<never>): Place {
    const answer = (): (() => void) => {
      let owed = true;
      held.owed += 1;
      return () => {
        if (!owed) return;
        owed = false;
        held.owed -= 1;
        held.silentSince = this.#next();
      };
    };
    let answered = nothing;
    return {
      listen: async (message) => {
        answered();
        held.silentSince = this.#next();
        try {
          return await Promise.race([message, lost]);
        } finally {
          answered = answer();
        }
      },
      answer,
      leave: () => this.#leave(held),
    };
  }

  #next(): number {
    this.#turn += 1;
    return this.#turn;
  }

  /** One that holds nothing is not kept until it does. */
  #holderOf(key: string): Holder {
    return this.#holders.get(key) ?? { key, held: new Set() };
  }

  #ensureShare({ key, held }: Holder, share: number): void {
    const { what, replacesOwn } = this.#settings;
    if (held.size < share) return;
    const replaced = replacesOwn && this.#giveWay(held, isSilent);
    ensure(replaced, 'rate', `${key} has ${held.size} ${what} open`);
  }

  #enter(held: Held): void {
    this.#held.add(held);
    for (const holder of holdersOf(held)) {
      holder.held.add(held);
      this.#holders.set(holder.key, holder);
    }
  }

  #leave(held: Held): void {
    if (!this.#held.delete(held)) return;
    for (const holder of holdersOf(held)) {
      holder.held.delete(held);
      if (holder.held.size === 0) this.#holders.delete(holder.key);
    }
  }

  #makeRoom(newcomers: number): void {
    const { what, total, givesWay } = this.#settings;
    const made =
      givesWay === 'anyone' ? this.#giveWay(this.#held, isSilent) : this.#takeFromLarger(newcomers + 2);
    ensure(made, 'rate', `${total} ${what} are open`);
  }

  /** From keys that hold so many: a silent one of a key above the average, else any one of the largest key. */
  #takeFromLarger(least: number): boolean {
    const average = this.#held.size / new Set([...this.#held].map(ownerOf)).size;
    const above = Math.max(least, average);
    return (
      this.#giveWay(this.#held, (held) => isSilent(held) && sizeOf(held) >= above) ||
      this.#giveWay(this.#held, (held) => sizeOf(held) >= least)
    );
  }

  /** Ends the one of these that `may` give way and goes first. False where there is none. */
  #giveWay(among: ReadonlySet<Held>, may: (held: Held) => boolean): boolean {
    for (let passed = 0; ; passed += 1) {
      let loser: Held | undefined;
      for (const held of among)
        if (may(held) && (loser === undefined || this.#goesBefore(held, loser))) loser = held;
      if (loser === undefined) return false;
      if (passed < MAX_PASSED_OVER && loser.heard()) {
        loser.silentSince = this.#next();
        continue;
      }
      const why = this.#whyOf(loser);
      this.#leave(loser);
      loser.lose(new IdentityError('rate', why));
      return true;
    }
  }

  #whyOf(loser: Held): string {
    if (isSilent(loser)) return `${loser.address.key} was silent while all places were taken`;
    const { what, total } = this.#settings;
    return `${ownerOf(loser).key} has ${sizeOf(loser)} of ${total} ${what}, more than any other`;
  }

  /** The one of the larger key, then the longest silent one. */
  #goesBefore(one: Held, other: Held): boolean {
    const { few } = this.#settings;
    const [more, fewer] = [Math.max(few, sizeOf(one)), Math.max(few, sizeOf(other))];
    return more === fewer ? one.silentSince < other.silentSince : more > fewer;
  }
}

const holdersOf = ({ address, network }: Held): readonly Holder[] =>
  network === undefined ? [address] : [address, network];

/** By whom it counts when one has to give way. */
const ownerOf = ({ address, network }: Held): Holder => network ?? address;
const sizeOf = (held: Held): number => ownerOf(held).held.size;
const isSilent = ({ owed }: Held): boolean => owed === 0;

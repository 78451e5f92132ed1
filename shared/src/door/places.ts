/**
 * A bounded number of places, with a share for each key. When all are taken, a silent tenant of the key that holds most
 * gives way, the longest silent first; a tenant that is being answered keeps its place. If only a larger key may give
 * way, the largest one does so even if all its tenants are being answered, because some requests never end.
 */
import { ensure, IdentityError } from '../ground/errors.ts';
import type { ShareKeys } from './keys.ts';

export interface PlaceSettings {
  /** What is held, for messages: `exchanges`, `connections`. */
  readonly what: string;
  readonly total: number;
  readonly perAddress: number;
  readonly perNetwork: number;
  /**
   * If anyone may give way, keys that hold at most so many are treated alike: an honest site opens a few at once, too.
   */
  readonly few: number;
  /**
   * Which tenants may give way when all places are taken: every silent one, or only those of a key that holds more than
   * the newcomer's would. The latter is for places whose loss ends work.
   */
  readonly givesWay: 'anyone' | 'larger';
  /** A newcomer whose own share is full replaces its own longest silent one; otherwise it is refused. */
  readonly replacesOwn: boolean;
}

/** How a place reaches its tenant, the peer that has it. */
export interface Tenant {
  /** Called when the place goes to another. */
  readonly lose?: (reason: IdentityError) => void;
  /** Whether the peer was heard since the last call; then it is not yet the longest silent one. */
  readonly heard?: () => boolean;
}

export interface Place {
  /** Waits for the peer's next message. Throws rate when the place goes to another meanwhile. */
  listen<T>(message: Promise<T>): Promise<T>;
  /** The peer waits for an answer, so its place does not give way until the returned function is called. */
  answer(): () => void;
  /** Leaving twice counts once. */
  leave(): void;
}

/** All sets are in the order of `silentSince`, so that the first one is the longest silent. */
interface KeyShare {
  readonly key: string;
  readonly held: Set<Held>;
  readonly silent: Set<Held>;
}

interface Held {
  readonly address: KeyShare;
  readonly network: KeyShare | undefined;
  /** When it began to wait for its peer, in the order of all such moments. */
  silentSince: number;
  /** Answers that its peer is owed; while there are any it is not silent. */
  owed: number;
  readonly tenant: Required<Tenant>;
  /** Why the place is lost, and what waits for that. */
  reason: IdentityError | undefined;
  loss: PromiseWithResolvers<never> | undefined;
}

/** How many silent tenants one newcomer may find to have been active, and pass over. */
const MAX_PASSED_OVER = 16;
const nothing = (): void => {};

/** A limited number of places. The caller leaves each place that it takes. */
export class Places {
  readonly #settings: PlaceSettings;
  readonly #held = new Set<Held>();
  readonly #silent = new Set<Held>();
  readonly #shares = new Map<string, KeyShare>();
  #owners = 0;
  /** Owners of more than a few, who give way first: there are far fewer of them than places. */
  readonly #large = new Set<KeyShare>();
  #turn = 0;

  constructor(settings: PlaceSettings) {
    this.#settings = settings;
  }

  /** How many places are taken. */
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
    const address = this.#shareOf(keys.address);
    const network = keys.network === undefined ? undefined : this.#shareOf(keys.network);
    this.#ensureShare(address, perAddress);
    if (network !== undefined) this.#ensureShare(network, perNetwork);
    if (this.#held.size >= total) this.#makeRoom((network ?? address).held.size);
    const tenant = { lose, heard };
    const held = { address, network, silentSince: 0, owed: 0, tenant, reason: undefined, loss: undefined };
    this.#enter(held);
    return this.#placeOf(held);
  }

  #placeOf(held: Held): Place {
    const answer = (): (() => void) => {
      let owed = true;
      this.#owe(held);
      return () => {
        if (!owed) return;
        owed = false;
        held.owed -= 1;
        this.#putLast(held);
      };
    };
    let answered = nothing;
    return {
      listen: async (message) => {
        answered();
        this.#putLast(held);
        try {
          return await Promise.race([message, lossOf(held)]);
        } finally {
          answered = answer();
        }
      },
      answer,
      leave: () => this.#leave(held),
    };
  }

  /** Its silence begins now, if no answer is open. */
  #putLast(held: Held): void {
    if (!this.#held.has(held)) return;
    this.#turn += 1;
    held.silentSince = this.#turn;
    for (const share of sharesOf(held)) moveLast(share.held, held);
    if (held.owed > 0) return;
    for (const silent of this.#silentOf(held)) moveLast(silent, held);
  }

  #owe(held: Held): void {
    held.owed += 1;
    for (const silent of this.#silentOf(held)) silent.delete(held);
  }

  #silentOf(held: Held): readonly Set<Held>[] {
    return [this.#silent, ...sharesOf(held).map(({ silent }) => silent)];
  }

  /** One that holds nothing is not kept until it does. */
  #shareOf(key: string): KeyShare {
    return this.#shares.get(key) ?? { key, held: new Set(), silent: new Set() };
  }

  #ensureShare({ key, held, silent }: KeyShare, share: number): void {
    const { what, replacesOwn } = this.#settings;
    if (held.size < share) return;
    const full = `all ${held.size} ${what} of ${key} were open`;
    const replaced = replacesOwn && this.#giveWay(() => first(silent), full);
    ensure(replaced, 'rate', `${key} has ${held.size} ${what} open`);
  }

  #enter(held: Held): void {
    this.#held.add(held);
    for (const share of sharesOf(held)) this.#shares.set(share.key, share);
    this.#putLast(held);
    const owner = ownerOf(held);
    if (owner.held.size === 1) this.#owners += 1;
    this.#classify(owner);
  }

  #leave(held: Held): void {
    if (!this.#held.delete(held)) return;
    for (const silent of this.#silentOf(held)) silent.delete(held);
    for (const share of sharesOf(held)) {
      share.held.delete(held);
      if (share.held.size === 0) this.#shares.delete(share.key);
    }
    const owner = ownerOf(held);
    if (owner.held.size === 0) this.#owners -= 1;
    this.#classify(owner);
  }

  #classify(owner: KeyShare): void {
    const { few, givesWay } = this.#settings;
    if (owner.held.size > (givesWay === 'anyone' ? few : 1)) this.#large.add(owner);
    else this.#large.delete(owner);
  }

  #makeRoom(newcomers: number): void {
    const { what, total, givesWay } = this.#settings;
    const anyone = () => this.#largest(({ silent }) => first(silent)) ?? first(this.#silent);
    const made = givesWay === 'anyone' ? this.#giveWay(anyone) : this.#takeFromLarger(newcomers + 2);
    ensure(made, 'rate', `${total} ${what} are open`);
  }

  /** From keys that hold so many: a silent one of a key above the average, else any one of the largest key. */
  #takeFromLarger(least: number): boolean {
    const above = Math.max(least, this.#held.size / this.#owners);
    const from = (size: number, firstOf: (owner: KeyShare) => Held | undefined) => () =>
      this.#largest((owner) => (owner.held.size >= size ? firstOf(owner) : undefined));
    return (
      this.#giveWay(from(above, ({ silent }) => first(silent))) ||
      this.#giveWay(from(least, ({ held }) => first(held)))
    );
  }

  /** Of these, the one of the larger owner, then the longest silent one. */
  #largest(firstOf: (owner: KeyShare) => Held | undefined): Held | undefined {
    let found: Held | undefined;
    for (const owner of this.#large) {
      if (found !== undefined && owner.held.size < sizeOf(found)) continue;
      const held = firstOf(owner);
      if (held !== undefined && (found === undefined || goesBefore(held, found))) found = held;
    }
    return found;
  }

  /** Ends the one that goes first. False if there is none. */
  #giveWay(next: () => Held | undefined, full = 'all places were taken'): boolean {
    for (let passed = 0; ; passed += 1) {
      const loser = next();
      if (loser === undefined) return false;
      if (passed < MAX_PASSED_OVER && loser.tenant.heard()) {
        this.#putLast(loser);
        continue;
      }
      const reason = new IdentityError('rate', this.#whyOf(loser, full));
      this.#leave(loser);
      loser.reason = reason;
      loser.loss?.reject(reason);
      loser.tenant.lose(reason);
      return true;
    }
  }

  #whyOf(loser: Held, full: string): string {
    if (loser.owed === 0) return `${loser.address.key} was silent while ${full}`;
    const { what, total } = this.#settings;
    return `${ownerOf(loser).key} has ${sizeOf(loser)} of ${total} ${what}, more than any other`;
  }
}

const sharesOf = ({ address, network }: Held): readonly KeyShare[] =>
  network === undefined ? [address] : [address, network];

/** By whom it counts when one has to give way. */
const ownerOf = ({ address, network }: Held): KeyShare => network ?? address;
const sizeOf = (held: Held): number => ownerOf(held).held.size;

/** The one of the larger owner, then the longest silent one. */
const goesBefore = (one: Held, other: Held): boolean =>
  sizeOf(one) === sizeOf(other) ? one.silentSince < other.silentSince : sizeOf(one) > sizeOf(other);

const first = (held: ReadonlySet<Held>): Held | undefined => held.values().next().value;

/** A set keeps the order in which its members came. */
function moveLast(set: Set<Held>, held: Held): void {
  set.delete(held);
  set.add(held);
}

/** Rejects when the place is lost. The promise is made at the first call, since few ask. */
function lossOf(held: Held): Promise<never> {
  held.loss ??= Promise.withResolvers<never>();
  // There may be no waiter while the peer is answered.
  held.loss.promise.catch(nothing);
  if (held.reason !== undefined) held.loss.reject(held.reason);
  return held.loss.promise;
}

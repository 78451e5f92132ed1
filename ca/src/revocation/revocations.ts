/** Revocations: kept in the store, loaded before the CA serves, asked at each call, and pushed to open streams. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import { Turns } from '@chancery/shared/ground/turns.ts';
import {
  describeRevocation,
  type MadeRevocation,
  parseTarget,
  type Target,
} from '@chancery/shared/revocation/revocation.ts';
import {
  inForce,
  type RevocablePeer,
  type RevocationSet,
  revocationSet,
} from '@chancery/shared/revocation/revocation-set.ts';
import { parseSpiffeId, type TrustDomain } from '@chancery/shared/spiffe/id.ts';
import type {
  AgentStore,
  CertificateStore,
  RevocationDraft,
  RevocationStore,
  UnexpiredPage,
  UnexpiredPlace,
} from '../store/store.ts';
import { draftOf, type RevocationOrder } from './draft.ts';
import { issuedSerial } from './serials.ts';

/** A target as an operator gives it. */
export interface NamedTarget {
  readonly kind: string;
  readonly value: string;
  /** Accepts a serial that this CA has no record of. */
  readonly force: boolean;
}

/** What a revocation cuts off or would cut off. */
export interface Matched {
  /** Its unexpired certificates; counted up to about 100,000. */
  readonly certificates: number;
  /** Their SPIFFE IDs, ascending. */
  readonly ids: readonly string[];
  /** True if there may be more. */
  readonly more: boolean;
}

const MAX_COUNTED = 100_000;

export interface Revocations {
  /** The revocations on record. Each change is durable before it appears here. */
  readonly sets: Source<RevocationSet<MadeRevocation>>;
  /** Those in force now, by their numbers. */
  standing(): readonly MadeRevocation[];
  /**
   * Throws `code` if the peer is revoked, also by a revocation that is still being written; store while revocations
   * that are on record could not be read.
   */
  ensureGood(peer: RevocablePeer, code: 'revoked_peer' | 'revoked_identity'): void;
  /**
   * The target that an operator names. A serial must be on record, in full or by its first digits. Throws revocation,
   * store.
   */
  named(target: NamedTarget): Promise<Target>;
  /**
   * What the order matches. Reads the store, so it is slow: call it after a revocation. Throws revocation, as `revoke`
   * would.
   */
  matched(order: RevocationOrder): Promise<Matched>;
  /** Throws revocation, store. */
  revoke(order: RevocationOrder): Promise<MadeRevocation>;
  /**
   * Makes a change of the store among all others of revocations, and puts in force what the store has then. If that
   * cannot be read, `ensureGood` refuses everybody until it can. `settle` runs between the two, with what `write`
   * resolved with; other changes do not wait for it, and put in force what `write` has made. Throws what `write` and
   * `settle` throw, and store.
   */
  change<T>(write: () => Promise<T>, settle?: (written: T) => Promise<void>): Promise<T>;
  /** Throws revocation, store. */
  lift(number: number, by: string): Promise<MadeRevocation>;
  /** Those in force, by their numbers, of which each cuts off all that `target` does; of patterns equal ones alone. */
  alsoCutOff(target: Target): Promise<readonly MadeRevocation[]>;
}

export interface RevocationDeps {
  readonly store: RevocationStore & AgentStore & Pick<CertificateStore, 'issuance' | 'issuedFrom'>;
  readonly clock: Clock;
  /** The time that decides what is forgotten: a revocation counts again where a clock that was ahead is set back. */
  readonly cautious: () => Date;
  readonly trustDomain: TrustDomain;
}

/** Each is sent to every agent, and indexed in each set. */
const MAX_IN_FORCE = 10_000;

/** Loads those in force. Throws store. */
export async function openRevocations(deps: RevocationDeps): Promise<Revocations> {
  const { list, sequence } = await deps.store.revocations();
  return new LiveRevocations(deps, revocationSet(list, sequence));
}

class LiveRevocations implements Revocations {
  readonly #deps: RevocationDeps;
  readonly #sets: LiveValue<RevocationSet<MadeRevocation>>;
  /** Revocations that are being written. They count already, so that nothing is issued meanwhile. */
  readonly #coming = new Set<RevocationSet<MadeRevocation>>();
  readonly #turns = new Turns(1);
  /** True while the store has revocations that are not in the set. */
  #isBehind = false;
  #isCatchingUp = false;
  /** How many changes are in the store and not yet in the set, or may be. */
  #settling = 0;

  constructor(deps: RevocationDeps, first: RevocationSet<MadeRevocation>) {
    this.#deps = deps;
    this.#sets = new LiveValue(() => new IdentityError('internal', 'no revocations'), first);
  }

  get sets(): Source<RevocationSet<MadeRevocation>> {
    return this.#sets;
  }

  standing(): readonly MadeRevocation[] {
    const now = this.#deps.clock.now();
    return this.#sets.current().list.filter((each) => inForce(each, now));
  }

  ensureGood(peer: RevocablePeer, code: 'revoked_peer' | 'revoked_identity'): void {
    if (this.#isBehind) {
      void this.#catchUp();
      throw new IdentityError(
        'store',
        'revocations that are on record could not be read; they are read again',
      );
    }
    const now = this.#deps.clock.now();
    for (const set of [this.#sets.current(), ...this.#coming]) {
      const revoked = set.revoked(peer, now);
      if (revoked !== undefined) throw new IdentityError(code, `${peer.id}: ${describeRevocation(revoked)}`);
    }
  }

  async named({ kind, value, force }: NamedTarget): Promise<Target> {
    const { store, clock } = this.#deps;
    if (kind !== 'serial') return parseTarget(kind, value);
    return issuedSerial({ text: value, now: clock.now(), force }, store);
  }

  async matched(order: RevocationOrder): Promise<Matched> {
    const { target } = await draftOf(order, this.#deps);
    const matches = matcherOf(target);
    const [now, ids] = [this.#deps.clock.now(), new Set<string>()];
    let [after, certificates]: [UnexpiredPlace | undefined, number] = [undefined, 0];
    do {
      const page: UnexpiredPage = await this.#deps.store.certified({ now, target, after });
      const hit = page.list.filter(matches);
      for (const { id } of hit) ids.add(id);
      certificates += hit.length;
      after = page.next;
    } while (after !== undefined && certificates < MAX_COUNTED);
    return { certificates, ids: [...ids].toSorted(), more: after !== undefined };
  }

  async revoke(order: RevocationOrder): Promise<MadeRevocation> {
    const draft = await draftOf(order, this.#deps);
    // It counts before its turn, too: the change before it may take long.
    const early = alone(draft, this.#deps.clock);
    this.#coming.add(early);
    try {
      return await this.#inTurn(async () => {
        const { revocation, sequence } = await this.#deps.store.revoke(draft, MAX_IN_FORCE);
        await this.#follow([...this.#kept(), revocation], sequence);
        return revocation;
      });
    } finally {
      this.#coming.delete(early);
    }
  }

  lift(number: number, by: string): Promise<MadeRevocation> {
    return this.#inTurn(async () => {
      const { revocation, sequence } = await this.#deps.store.lift(number, by);
      const left = this.#kept().filter((each) => each.number !== number);
      await this.#follow(left, sequence);
      return revocation;
    });
  }

  async change<T>(
    write: () => Promise<T>,
    settle: (written: T) => Promise<void> = async () => {},
  ): Promise<T> {
    this.#settling += 1;
    try {
      const written = await this.#inTurn(write);
      await settle(written);
      return written;
    } finally {
      // Also where it failed: it may have come as far as the store.
      await this.#turns.run(async () => {
        this.#settling -= 1;
        await this.#load();
      });
    }
  }

  /** Behind a change that settles, the set before has not all that is on record. */
  async #follow(list: readonly MadeRevocation[], sequence: bigint): Promise<void> {
    if (this.#settling > 0) await this.#load();
    else this.#sets.publish(revocationSet(list, sequence));
  }

  /** Publishes nothing where nothing has changed: no two sets have one number. */
  async #load(): Promise<void> {
    try {
      const { list, sequence } = await this.#deps.store.revocations();
      const [now, numbers] = [this.#deps.clock.now(), new Set(list.map(({ number }) => number))];
      // The store leaves out what has ended by a clock that may be ahead.
      const ended = this.#kept().filter((each) => !inForce(each, now) && !numbers.has(each.number));
      // Before it is published: open streams ask at once.
      this.#isBehind = false;
      if (sequence !== this.#sets.current().sequence)
        this.#sets.publish(revocationSet([...list, ...ended], sequence));
    } catch (error) {
      this.#isBehind = true;
      throw error;
    }
  }

  /** Tries once at a time, however many ask. */
  async #catchUp(): Promise<void> {
    if (this.#isCatchingUp) return;
    this.#isCatchingUp = true;
    await this.#inTurn(async () => {}).catch(() => {});
    this.#isCatchingUp = false;
  }

  async alsoCutOff(target: Target): Promise<readonly MadeRevocation[]> {
    const peer = await this.#peerOf(target);
    return this.standing().filter((each) =>
      peer === undefined
        ? each.target.kind === target.kind && each.target.value === target.value
        : matcherOf(each.target)(peer),
    );
  }

  /** Undefined for a target that is not one peer, or not on record. */
  async #peerOf({ kind, value }: Target): Promise<RevocablePeer | undefined> {
    if (kind === 'id') return { id: parseSpiffeId(value) };
    const issued = kind === 'serial' ? await this.#deps.store.issuance(value) : undefined;
    if (issued === undefined) return undefined;
    const { id, serial, origin, platform, node } = issued;
    return { id, serial, origin, node: { platform, node } };
  }

  /** Those that are in force, or may be again. */
  #kept(): readonly MadeRevocation[] {
    const time = this.#deps.cautious();
    return this.#sets.current().list.filter((each) => inForce(each, time));
  }

  /** Changes are made one at a time: each set builds on the one before. */
  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    return this.#turns.run(async () => {
      if (this.#isBehind) await this.#load();
      return change();
    });
  }
}

/** A set of this one revocation, which has no number yet. */
const alone = (draft: RevocationDraft, clock: Clock): RevocationSet<MadeRevocation> =>
  revocationSet([{ ...draft, number: 0, serials: [], at: clock.now() }], 0n);

/** Which peers a revocation of this target would match. */
export function matcherOf(target: Target): (peer: RevocablePeer) => boolean {
  const order = { number: 0, serials: [], reason: 'unspecified', until: undefined } as const;
  const set = revocationSet([{ ...order, target }], 0n);
  return (peer) => set.revoked(peer, EVER) !== undefined;
}

/** A revocation without an end counts at any time. */
const EVER = new Date(0);

/**
 * After a restore: agents hand back what the CA of before has told them, and the restored CA puts in what it did
 * not know. Each state proves itself by the log's key. They are joined, and none takes a revocation of another back: of
 * two lives that began with one backup neither knows what the other has done, whatever their numbers are.
 */
import { hex, utf8 } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { openCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import type { NoteKey } from '@chancery/shared/tlog/note.ts';
import { revocationsDigest } from '@chancery/shared/voucher/state-digest.ts';
import { openState, verifyState } from '@chancery/shared/voucher/state-note.ts';
import type { Revocations } from '../revocation/revocations.ts';
import { maySign } from '../store/authority-states.ts';
import {
  type HandedBack,
  isNews,
  type Recovery as Known,
  type Merged,
  type RecoveryStore,
} from '../store/recovery-store.ts';
import type { StoredAuthority } from '../store/store.ts';
import { type Revoked, readRevoked } from './handed-list.ts';

/** What a peer hands back. */
export interface Handed {
  /** Of the newest revocations that it has. */
  readonly note: string;
  /** Empty unless they were wanted. */
  readonly list: readonly Revoked[];
  /** The newest that it has seen, or empty. */
  readonly checkpoint: string;
}

/** Who hands it back. */
export interface Bringer {
  readonly by: string;
  /** Of a certificate that is good now; it may not be on record. */
  readonly id: SpiffeId | undefined;
  /** Of that certificate. */
  readonly serial?: string | undefined;
}

export interface RecoveryDeps {
  readonly store: RecoveryStore;
  readonly revocations: Pick<Revocations, 'change'>;
  /** All that there are, as the store had them last. */
  readonly authorities: Source<readonly StoredAuthority[]>;
  /** The JWT keys that are in force. */
  readonly bundle: Pick<
    Source<{ readonly jwtAuthorities: readonly { readonly keyId: string }[] }>,
    'current'
  >;
  /** Of the audit log. */
  readonly verifier: NoteKey;
  /** SPIFFE IDs of the gateways in the registry. */
  readonly gateways: () => ReadonlySet<string>;
  /** No certificate that was issued after the backup lives longer. */
  readonly longestSeconds: number;
  /** Makes what signs instead of authorities that were taken away, and shows peers another certificate. */
  readonly settle: () => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

/** An agent that was away for longer hands nothing back. */
const TAKEN_BACK_SECONDS = 30 * 86_400;
const NOTHING_REVOKED = hex(revocationsDigest([]));
const KEPT =
  'these revocations are not in the newest state that was handed back; they stay: lift again what you have lifted';
const WAITS = 'the CA was restored from a backup and issues nothing yet';
const ADVICE = 'chancery-ca accept-loss --reason TEXT ends the wait';

/** One for each process; what it knows is in the store. */
export class Recovery {
  readonly #deps: RecoveryDeps;
  #known: Known | undefined;

  private constructor(deps: RecoveryDeps, known: Known | undefined) {
    this.#deps = deps;
    this.#known = known;
  }

  /** Says in the log what a restored CA waits for. Throws store. */
  static async open(deps: RecoveryDeps): Promise<Recovery> {
    const recovery = new Recovery(deps, await deps.store.recovery());
    const why = recovery.whyHeld();
    if (why !== undefined) deps.log.warn({}, why);
    return recovery;
  }

  /** Why nothing is issued; undefined if nothing is held back. */
  readonly whyHeld = (): string | undefined => {
    const stolen = this.#whyStolen();
    if (stolen !== undefined || this.#known?.holds !== true) return stolen;
    const claimed = this.#claimed();
    if (claimed.length > 0) return `${WAITS}: ${claimOf(claimed)}`;
    const missing = this.#missing();
    const names = missing.length > 3 ? [...missing.slice(0, 3), `${missing.length - 3} more`] : missing;
    const waits = missing.length === 0 ? 'an operator' : `what gateways hand back: ${names.join(', ')}`;
    return `${WAITS}: it waits for ${waits}; ${ADVICE}`;
  };

  /** Whether it is the SPIFFE ID of a gateway: a CA that was restored waits for them, so they go first. */
  isAwaited(id: SpiffeId): boolean {
    return this.#deps.gateways().has(id);
  }

  /** By name; undefined if the root that signs is not stolen, or was tainted again since. */
  #whyStolen(): string | undefined {
    const root = this.#known?.stolenRoot;
    const signs = this.#deps.authorities.current().some((each) => each.serial === root && maySign(each));
    if (!signs) return undefined;
    const says = `root ${root}, which signs, was tainted after the backup that the CA was restored from`;
    return `${says}: nothing is issued under it; take it away with chancery-ca taint ${root} --reason TEXT`;
  }

  /**
   * Takes what a peer hands back. True if its revocations were not seen yet, and their list is not there: then it is to
   * be handed back as well. Throws tlog for what the log's key has not signed, revocation, store.
   */
  async take({ note, list, checkpoint }: Handed, bringer: Bringer): Promise<boolean> {
    const known = this.#known;
    if (known === undefined || !this.#isOpenTo(bringer, known)) return false;
    const { verifier, store, revocations, gateways, clock, longestSeconds } = this.#deps;
    const { part, number, subject, digest: claimed } = openState(note, verifier);
    ensure(part === 'revocations', 'tlog', `the note is of ${part}, and revocations are handed back`);
    if (number >= BigInt(known.start)) return false;
    const digest = hex(claimed);
    const isNew = isNews(number, digest, known);
    if (isNew && list.length === 0 && digest !== NOTHING_REVOKED) return true;
    if (isNew) verifyState(note, { part, number, subject, digest: revocationsDigest(list) }, verifier);
    const entries = checkpoint === '' ? 0 : openCheckpoint(utf8(checkpoint), verifier).size;
    const awaited = [...gateways()];
    const { by, id, serial = '' } = bringer;
    const handed = {
      ...{
        number: Number(number),
        digest,
        list: isNew ? list.map(readRevoked) : undefined,
        entries,
        by,
        awaited,
      },
      isCertified: id !== undefined,
      gateway: id !== undefined && this.isAwaited(id) ? { id, serial } : undefined,
      until: addSeconds(clock.now(), longestSeconds),
    };
    if (!isNew && !this.#tellsMore(handed, known)) return false;
    // Without a list no revocation changes, and operators who revoke do not wait.
    const merged = isNew
      ? await revocations.change(
          () => store.handBack(handed),
          // First: peers that hear of it dial again.
          async (changed) => (changed?.tainted.length ? this.#settle() : undefined),
        )
      : await store.handBack(handed);
    await this.#heard(merged, by);
    return false;
  }

  /**
   * Whether there is something to write though its revocations are known: a whole fleet brings them after a restore.
   * What was read last and what a write has changed may differ, and then there is: it is read again.
   */
  #tellsMore({ gateway, entries, awaited }: HandedBack, known: Known): boolean {
    const isUnheard = gateway !== undefined && !known.heard.includes(gateway.id);
    const isClear = this.#whyStolen() === undefined && this.#claimed().length === 0;
    const endsHold = known.holds && isClear && awaited.length > 0 && this.#missing().length === 0;
    return isUnheard || endsHold || entries - known.entries > known.lost;
  }

  /** What fails is tried again with the next upkeep; nothing is signed with what was taken away meanwhile. */
  async #settle(): Promise<void> {
    try {
      await this.#deps.settle();
    } catch (error) {
      this.#deps.log.error({ err: error }, 'nothing signs yet instead of an authority that was tainted');
    }
  }

  /** Ends the wait by hand; false if there is none. Throws recovering while the root that signs is stolen, store. */
  async acceptLoss(reason: string, by: string): Promise<boolean> {
    const stolen = this.#whyStolen();
    ensure(stolen === undefined, 'recovering', `${stolen}, and then accept the loss`);
    const ended = await this.#deps.store.endHold(reason, by);
    await this.#heard(undefined, by);
    return ended;
  }

  /**
   * While the hold lasts, to anybody; then for some weeks to peers with a certificate: agents that were away join
   * first. Who has stolen the log's key could otherwise revoke for ever.
   */
  #isOpenTo({ id }: Bringer, { holds, since }: Known): boolean {
    return holds || (id !== undefined && this.#deps.clock.now() < addSeconds(since, TAKEN_BACK_SECONDS));
  }

  /** Without those that were taken away since. */
  #claimed(): readonly string[] {
    const { authorities, bundle } = this.#deps;
    const left = authorities
      .current()
      .flatMap(({ serial, taintedAt }) => (taintedAt === undefined ? [serial] : []));
    const inForce = [...left, ...bundle.current().jwtAuthorities.map(({ keyId }) => keyId)];
    return (this.#known?.claimed ?? []).filter((serial) => inForce.includes(serial));
  }

  #missing(): readonly string[] {
    return [...this.#deps.gateways()].filter((each) => this.#known?.heard.includes(each) !== true);
  }

  async #heard(merged: Merged | undefined, by: string): Promise<void> {
    const { store, log } = this.#deps;
    const before = this.#known;
    this.#known = await store.recovery();
    if (merged !== undefined) {
      const { made, kept, tainted } = merged;
      log.warn({ by, made: made.length }, 'revocations of before the restore were handed back');
      if (kept.length > 0) log.warn({ numbers: kept.slice(0, 100) }, KEPT);
      if (tainted.length > 0)
        log.error(
          { keys: tainted },
          'authorities were tainted after the backup: they are taken away, and others sign',
        );
      const stolen = this.#whyStolen();
      if (stolen !== undefined) log.error({}, stolen);
    }
    const claimed = this.#claimed().filter((each) => before?.claimed.includes(each) !== true);
    if (claimed.length > 0) log.error({ by }, claimOf(claimed));
    const lost = this.#known?.lost ?? 0;
    if (lost > (before?.lost ?? 0))
      log.warn({ entries: lost }, 'the audit log has lost entries of before the restore');
    if (before?.holds === true && this.#known?.holds === false) log.info({}, 'the restored CA issues again');
  }
}

/** What an operator decides. */
function claimOf(serials: readonly string[]): string {
  const says = `without a certificate it was handed back that authorities are stolen (${serials.join(', ')})`;
  return `${says}: chancery-ca taint each of them, or ${ADVICE} and keeps them`;
}

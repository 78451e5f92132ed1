/**
 * After a restore: agents hand back what the CA of before has told them, and the restored CA puts in what is newer than
 * its backup. Each proves itself by the log's key, and their numbers order them.
 */
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { parseReason, parseTarget, type Revocation } from '@chancery/shared/revocation/revocation.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { openCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import type { NoteKey } from '@chancery/shared/tlog/note.ts';
import { revocationsDigest } from '@chancery/shared/voucher/state-digest.ts';
import { openState, verifyState } from '@chancery/shared/voucher/state-note.ts';
import type { Revocations } from '../revocation/revocations.ts';
import type { Recovery as Known, Merged, RecoveryStore } from '../store/recovery-store.ts';

type Revoked = Parameters<typeof revocationsDigest>[0][number];

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
}

export interface RecoveryDeps {
  readonly store: RecoveryStore;
  readonly revocations: Pick<Revocations, 'change'>;
  /** Of the audit log. */
  readonly verifier: NoteKey;
  /** SPIFFE IDs of the gateways in the registry. */
  readonly gateways: () => ReadonlySet<string>;
  /** No certificate that was issued after the backup lives longer. */
  readonly longestSeconds: number;
  readonly clock: Clock;
  readonly log: Log;
}

const TAINT_FIRST =
  'an authority was tainted after the backup (chancery-ca audit query --text ca.handedBack): taint it again first; ';
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
    if (this.#known?.holds !== true) return undefined;
    const missing = this.#missing();
    const names = missing.length > 3 ? [...missing.slice(0, 3), `${missing.length - 3} more`] : missing;
    const waits = missing.length === 0 ? 'an operator' : `what gateways hand back: ${names.join(', ')}`;
    const first = this.#known.isTainted ? TAINT_FIRST : '';
    return `the CA was restored from a backup and issues nothing yet: it waits for ${waits}; ${first}${ADVICE}`;
  };

  /** Whether there was a life before, of which peers may know more. */
  readonly isListening = (): boolean => this.#known !== undefined;

  /**
   * Takes what a peer hands back. True if its revocations are newer than all that is known, and their list is not
   * there: then it is to be handed back as well. Throws tlog for what the log's key has not signed, revocation, store.
   */
  async take({ note, list, checkpoint }: Handed, bringer: Bringer): Promise<boolean> {
    const known = this.#known;
    if (known === undefined) return false;
    const { verifier, store, revocations, gateways, clock, longestSeconds } = this.#deps;
    const { part, number, subject } = openState(note, verifier);
    ensure(part === 'revocations', 'tlog', `the note is of ${part}, and revocations are handed back`);
    if (number >= BigInt(known.start)) return false;
    const isNewer = number > BigInt(known.merged);
    if (isNewer && list.length === 0 && !this.#isEmpty(note, number)) return true;
    if (isNewer) verifyState(note, { part, number, subject, digest: revocationsDigest(list) }, verifier);
    const entries = checkpoint === '' ? 0 : openCheckpoint(utf8(checkpoint), verifier).size;
    const awaited = [...gateways()];
    const { by, id } = bringer;
    const handed = {
      ...{ number: Number(number), list: isNewer ? list.map(read) : undefined, entries, by, awaited },
      gateway: id !== undefined && gateways().has(id) ? id : undefined,
      until: addSeconds(clock.now(), longestSeconds),
    };
    // Also where it is known already: what was read last may have failed.
    const merged = await revocations.change(() => store.handBack(handed));
    await this.#heard(merged, by);
    return false;
  }

  /** Ends the wait by hand; false if there is none. Throws store. */
  async acceptLoss(reason: string, by: string): Promise<boolean> {
    const ended = await this.#deps.store.endHold(reason, by);
    await this.#heard(undefined, by);
    return ended;
  }

  /** Whether the note is of no revocations: then there is nothing to ask for. */
  #isEmpty(note: string, number: bigint): boolean {
    const claim = openState(note, this.#deps.verifier);
    const empty = revocationsDigest([]);
    return claim.number === number && Buffer.compare(claim.digest, empty) === 0;
  }

  #missing(): readonly string[] {
    return [...this.#deps.gateways()].filter((each) => this.#known?.heard.includes(each) !== true);
  }

  async #heard(merged: Merged | undefined, by: string): Promise<void> {
    const { store, log } = this.#deps;
    const before = this.#known;
    this.#known = await store.recovery();
    if (merged !== undefined) {
      const { made, lifted, kept, tainted } = merged;
      log.warn(
        { by, made: made.length, lifted: lifted.length },
        'revocations of before the restore were handed back',
      );
      if (kept.length > 0)
        log.warn(
          { numbers: kept.slice(0, 100) },
          'revocations of the backup may have been lifted after it: look, and lift them again',
        );
      if (tainted.length > 0)
        log.error(
          { keys: tainted },
          'authorities were tainted after the backup: taint them again with chancery-ca taint',
        );
    }
    const lost = this.#known?.lost ?? 0;
    if (lost > (before?.lost ?? 0))
      log.warn({ entries: lost }, 'the audit log has lost entries of before the restore');
    if (before?.holds === true && this.#known?.holds === false) log.info({}, 'the restored CA issues again');
  }
}

/** Throws revocation for what this release cannot read. */
function read({ number, kind, value, serials, reason, until }: Revoked): Revocation {
  return {
    number: Number(number),
    target: parseTarget(kind, value),
    serials: serials.map((serial) => parseTarget('serial', serial).value),
    reason: parseReason(reason),
    until: until === 0n ? undefined : new Date(Number(until) * 1000),
  };
}

/** What agents ask for where the CA has a root that they do not know: entries of the log with a voucher, and proofs. */
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { type NoteKey, writeVerifierKey } from '@chancery/shared/tlog/note.ts';
import { writeProof } from '@chancery/shared/tlog/proof-text.ts';
import { readEntryProof } from '@chancery/shared/tlog/read-log.ts';
import { rootName } from '@chancery/shared/voucher/voucher.ts';
import type { LogStore } from '../store/log-store.ts';
import type { AuditIntake, AuthorityStore, StoredAuthority } from '../store/store.ts';
import type { LogFiles } from './log-files.ts';

export interface VoucherDeps {
  readonly store: Pick<AuthorityStore, 'authorities'> &
    Pick<LogStore, 'indexOf'> &
    Pick<AuditIntake, 'events'>;
  readonly files: Pick<LogFiles, 'read'>;
  /** Of the audit log. */
  readonly verifier: NoteKey;
  readonly log: Log;
}

const nameOf = ({ certificate }: StoredAuthority): string => rootName(certificate);

/** An agent that slept through more rotations cannot catch up. */
const MAX_LISTED = 32;

/**
 * One for each process. A proof holds for ever, so each is made once: a new root makes all agents ask at the same
 * moment, and anyone may.
 */
export class Vouchers {
  /** The verifier key of the audit log, as C2SP signed-note writes it. */
  readonly logKey: string;
  readonly #deps: VoucherDeps;
  readonly #proofs = new Map<number, Promise<Uint8Array | undefined>>();

  constructor(deps: VoucherDeps) {
    this.#deps = deps;
    this.logKey = writeVerifierKey(deps.verifier);
  }

  /**
   * Texts of C2SP tlog-proof, the newest root's first. One that the log does not have yet, within a second of the
   * publication, is not among them, and none by a tainted root. Throws store.
   */
  async list(): Promise<readonly Uint8Array[]> {
    const records = await this.#deps.store.authorities();
    const publications = records
      .flatMap(({ publication }) => publication ?? [])
      .toSorted((a, b) => b - a)
      .slice(0, MAX_LISTED);
    const tainted = records.filter(({ taintedAt }) => taintedAt !== undefined).map(nameOf);
    const proofs = await Promise.all(
      publications.map(async (each) => ((await this.#isBy(tainted, each)) ? undefined : this.#proof(each))),
    );
    return proofs.flatMap((proof) => proof ?? []);
  }

  /** Whether one of these roots, by the SHA-256 of its certificate, vouches in this event. */
  async #isBy(roots: readonly string[], publication: number): Promise<boolean> {
    if (roots.length === 0) return false;
    const [found] = await this.#deps.store.events(publication - 1, 1);
    const by = found?.event.type === 'authority.moved' ? found.event.voucher?.by : undefined;
    return by !== undefined && roots.includes(by);
  }

  #proof(publication: number): Promise<Uint8Array | undefined> {
    const known = this.#proofs.get(publication);
    if (known !== undefined) return known;
    // One that cannot be made yet is tried again by who asks later.
    const forget = (): void => void this.#proofs.delete(publication);
    const proof = this.#make(publication);
    this.#proofs.set(publication, proof);
    proof.then((made) => made === undefined && forget(), forget);
    return proof;
  }

  async #make(publication: number): Promise<Uint8Array | undefined> {
    const { store, files, verifier, log } = this.#deps;
    const index = await store.indexOf(publication);
    if (index === undefined) return undefined;
    try {
      return utf8(writeProof(await readEntryProof(index, (path) => files.read(path), verifier)));
    } catch (error) {
      // The checkpoint in the folder may be older than that in the database, and a file may be out of reach.
      log.warn({ err: error, index }, 'a voucher cannot be proven yet');
      return undefined;
    }
  }
}

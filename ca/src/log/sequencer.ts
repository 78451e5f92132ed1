/**
 * Integrates audit events into the Merkle log, one step after the other. A step reads entries from the database, writes
 * tiles and bundles, makes the signed checkpoint durable in the database, and then publishes it as a file. It can end
 * at any point, by SIGKILL too: the next one begins from the newest checkpoint of the database, and writes the same
 * bytes to the same names.
 */
import { hex, utf8 } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { signCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { writeVerifierKey } from '@chancery/shared/tlog/note.ts';
import type { LogCheckpoint } from '../store/log-store.ts';
import { type Branch, grow, outgrown } from './branch.ts';
import type { Copies } from './copies/folder.ts';
import type { LogKey } from './log-key.ts';
import { ensureNotAhead, loadBranch, type MendDeps, PAGE, rootAt } from './mend.ts';

export interface SequencerDeps extends Omit<MendDeps, 'signal'> {
  /** Undefined if no copies are wanted. */
  readonly copies?: Pick<Copies, 'compare' | 'keep'> | undefined;
  readonly key: LogKey;
  readonly clock: Clock;
}

/** Entries of one checkpoint, about: more wait for the next. */
const MAX_STEP = 8_192;
/** New entries wait for this long, and for the step. */
const PAUSE_SECONDS = 0.75;
/** After a failure. */
const RETRY_SECONDS = 5;

/** Why the log does not grow, and since when. */
export interface Standstill {
  readonly since: Date;
  readonly reason: string;
}

/** For a person. */
export const saysStandstill = ({ since, reason }: Standstill): string =>
  `the audit log does not grow since ${since.toISOString()}, and events wait in the database: ${reason}`;

/** Where the log is: the tree of the newest checkpoint, and how far the database was read for the next. */
interface Place {
  readonly checkpoint: LogCheckpoint | undefined;
  readonly branch: Branch;
  readonly through: number;
}

/** One for each process; the store sees to it that of several only one makes a checkpoint. */
export class Sequencer {
  readonly #deps: SequencerDeps;
  readonly #stop = new AbortController();
  /** Undefined before the first step, and after a failed one. */
  #place: Place | undefined;
  #standstill: Standstill | undefined;
  #newest = '';

  constructor(deps: SequencerDeps) {
    this.#deps = deps;
  }

  /** The note of the newest checkpoint; empty before the first. */
  get checkpoint(): string {
    return this.#newest;
  }

  /** True while the log does not grow: the newest step failed. */
  get isFailing(): boolean {
    return this.#standstill !== undefined;
  }

  /** Undefined while it grows. */
  get standstill(): Standstill | undefined {
    return this.#standstill;
  }

  /** Resolves with the number of integrated entries. Throws tlog, store, and what the file system refuses. */
  async step(): Promise<number> {
    const place = this.#place ?? (await this.#load());
    this.#place = undefined;
    const { entries, through } = await this.#read(place.through);
    if (entries.length === 0) {
      this.#place = { ...place, through };
      return 0;
    }
    const branch = await grow(place.branch, entries, this.#deps.files);
    const before = place.branch.tail.size;
    const checkpoint = this.#sign(branch, through);
    // Another process was faster: the next step begins from its checkpoint.
    if (!(await this.#deps.store.saveCheckpoint(before, checkpoint))) return 0;
    await this.#deps.files.write('checkpoint', utf8(checkpoint.note));
    this.#newest = checkpoint.note;
    for (const folder of outgrown(before, checkpoint.size)) await this.#deps.files.remove(folder);
    this.#place = { checkpoint, branch, through };
    return entries.length;
  }

  /** Steps until `close`; logs what fails, and tries again. */
  async run(): Promise<void> {
    const { clock, log, copies } = this.#deps;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      let pause = PAUSE_SECONDS;
      try {
        if ((await this.step()) >= MAX_STEP) pause = 0;
        const newest = this.#place?.checkpoint;
        if (newest !== undefined) await copies?.keep(newest);
        if (this.isFailing) log.info({}, 'the audit log grows again');
        this.#standstill = undefined;
      } catch (error) {
        if (signal.aborted) return;
        this.#place = undefined;
        pause = RETRY_SECONDS;
        const reason = error instanceof Error ? error.message : String(error);
        if (reason !== this.#standstill?.reason)
          log.error(
            { err: error },
            'the audit log does not grow; events are kept in the database, and it is tried again',
          );
        this.#standstill = { since: this.#standstill?.since ?? clock.now(), reason };
      }
      await clock.sleepUntil(addSeconds(clock.now(), pause), signal).catch(() => {});
    }
  }

  /** Ends `run` after the step under way. */
  stop(): void {
    this.#stop.abort();
  }

  /** Publishes what the database has and the files may not have: a step may have ended in between. */
  async #load(): Promise<Place> {
    const { store, files, key, copies } = this.#deps;
    await copies?.compare((size) => rootAt(size, { ...this.#deps, signal: this.#stop.signal }));
    const checkpoint = await store.checkpoint();
    await ensureNotAhead(checkpoint, key.verifier, files);
    const branch = await loadBranch(checkpoint, { ...this.#deps, signal: this.#stop.signal });
    await files.write('verifier-key', utf8(`${writeVerifierKey(key.verifier)}\n`));
    if (checkpoint !== undefined) await files.write('checkpoint', utf8(checkpoint.note));
    this.#newest = checkpoint?.note ?? '';
    return { checkpoint, branch, through: checkpoint?.through ?? 0 };
  }

  /** Up to MAX_STEP entries and a page. */
  async #read(from: number): Promise<{ readonly entries: readonly string[]; readonly through: number }> {
    const entries: string[] = [];
    let [through, more] = [from, true];
    while (more && entries.length < MAX_STEP) {
      const page = await this.#deps.store.leaves(through, PAGE);
      entries.push(...page.entries);
      ({ through, more } = page);
    }
    return { entries, through };
  }

  #sign({ tail }: Branch, through: number): LogCheckpoint {
    const { verifier, privateKey } = this.#deps.key;
    const [size, root] = [tail.size, tail.root()];
    return { size, root: hex(root), through, note: signCheckpoint({ size, root }, verifier, privateKey) };
  }
}

export interface GrowingLog {
  /** The note of its newest checkpoint; empty before the first. */
  checkpoint(): string;
  /** True while it does not grow. */
  isFailing(): boolean;
  /** Why it does not grow; undefined while it does. */
  standstill(): Standstill | undefined;
  /** Waits for the step under way. */
  close(): Promise<void>;
}

/** Works until it is closed. */
export function startSequencer(deps: SequencerDeps): GrowingLog {
  const sequencer = new Sequencer(deps);
  const running = sequencer.run();
  return {
    checkpoint: () => sequencer.checkpoint,
    isFailing: () => sequencer.isFailing,
    standstill: () => sequencer.standstill,
    close: () => {
      sequencer.stop();
      return running;
    },
  };
}

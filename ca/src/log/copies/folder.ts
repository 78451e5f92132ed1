/**
 * Copies of checkpoints in a folder elsewhere: what they cover cannot be rewritten by somebody who has the CA's machine
 * and not the copies. Each copy is a new file, so that the folder may refuse every change of a file that it has. They
 * also tell a CA whose database was restored from a backup what it has signed before.
 */
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { readIn } from '@chancery/shared/audit-verify/folder.ts';
import { equal, hex, utf8 } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock, isRecent } from '@chancery/shared/ground/clock.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { type Checkpoint, openCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import type { NoteKey } from '@chancery/shared/tlog/note.ts';
import type { LogCheckpoint, LogStore } from '../../store/log-store.ts';

export interface CopiesDeps {
  /** It is not made: a mount that is missing is an error. */
  readonly folder: string;
  readonly everySeconds: number;
  readonly store: Pick<LogStore, 'checkpoint'>;
  readonly verifier: NoteKey;
  readonly clock: Clock;
  readonly log: Log;
}

/** The root of the first entries of the database; undefined if it has fewer. */
export type RootAt = (size: number) => Promise<Uint8Array | undefined>;

/** At most one copy in the given time; the first at once. */
export class Copies {
  readonly #deps: CopiesDeps;
  #copied: { readonly size: number; readonly at: Date } | undefined;
  /** Since when there has been a checkpoint that is not copied. */
  #uncopiedSince: Date | undefined;
  #failing: string | undefined;
  /** False until the copies were compared with the database: their folder may be missing for a while. */
  #compared = false;
  #hangs = false;

  constructor(deps: CopiesDeps) {
    this.#deps = deps;
  }

  /**
   * Compares the newest copies with the database. Throws tlog if a copy has a checkpoint that the database does not
   * have, or may have one and cannot be read: signing on would give a size two roots. `rootAt` is asked for the root
   * that the events of the database give at a size which is not signed there: after a restore with the log they are
   * those of the copy. A folder that cannot be read, or does not answer for some seconds, is logged once and compared
   * later.
   */
  async compare(rootAt: RootAt = async () => undefined): Promise<void> {
    this.#compared = false;
    await this.#trying(() => this.#compareAll(rootAt));
  }

  /**
   * Copies the newest checkpoint if it is time. Logs once what fails, and the next call tries again; a folder that does
   * not answer is waited for some seconds, once. Throws tlog if a copy has another checkpoint than the database.
   */
  async keep({ size, note }: LogCheckpoint): Promise<void> {
    const { everySeconds, clock } = this.#deps;
    const now = clock.now();
    const isCopied = this.#copied?.size === size;
    if (isCopied && this.#failing === undefined) return;
    if (!isCopied) this.#uncopiedSince ??= now;
    if (!isCopied && this.#copied !== undefined && isRecent(this.#copied.at, everySeconds, now)) return;
    await this.#trying(async () => {
      if (!this.#compared) await this.#compareAll(async () => undefined);
      await this.#write(size, note);
      if (this.#failing !== undefined)
        this.#deps.log.info({ path: this.#at(size) }, 'checkpoints are copied again');
      this.#copied = { size, at: now };
      this.#uncopiedSince = undefined;
      this.#failing = undefined;
    });
  }

  /** True from a copy or a look at the copies that failed until one succeeds. */
  get isFailing(): boolean {
    return this.#failing !== undefined;
  }

  /** For how many seconds a checkpoint has waited to be copied; 0 if none waits. */
  uncopiedSeconds(): number {
    const since = this.#uncopiedSince;
    return since === undefined ? 0 : Math.max(0, (this.#deps.clock.now().getTime() - since.getTime()) / 1000);
  }

  /** True while a call of the file system hangs: it blocks a thread, for which Node waits at its end. */
  get hangs(): boolean {
    return this.#hangs;
  }

  /** Does not wait for a mount whose server is away: its calls may block for ever. One at a time does. */
  async #within<T>(call: () => Promise<T>): Promise<T> {
    const { folder, clock } = this.#deps;
    const silent = () => new Error(`${folder} does not answer`);
    if (this.#hangs) throw silent();
    const [over, work] = [new AbortController(), call()];
    const bound = clock.sleepUntil(addSeconds(clock.now(), ANSWER_SECONDS), over.signal);
    const silence = (): typeof LATE => LATE;
    const first = await Promise.race([work, bound.then(silence, silence)]).finally(() => over.abort());
    if (first !== LATE) return first;
    this.#hangs = true;
    const ended = (): void => {
      this.#hangs = false;
    };
    void work.then(ended, ended);
    throw silent();
  }

  async #trying(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (isRefusal(error, 'tlog')) throw error;
      const says = error instanceof Error ? error.message : String(error);
      const { folder, log } = this.#deps;
      if (says !== this.#failing)
        log.error({ err: error, folder }, 'a checkpoint could not be copied; it is tried again');
      this.#failing = says;
    }
  }

  #at(size: number): string {
    return join(this.#deps.folder, nameOf(size));
  }

  /** The database is read after the folder: what another process copies meanwhile is in it. */
  async #compareAll(rootAt: RootAt): Promise<void> {
    const sizes = await this.#within(() => copiesIn(this.#deps.folder));
    const { store } = this.#deps;
    const signed = (await store.checkpoint())?.size ?? 0;
    const { folder } = this.#deps;
    for (const size of sizes) {
      const copy = await this.#read(size);
      const torn = `${nameOf(size)} in ${folder} cannot be read as a checkpoint of this log, and the database has`;
      ensure(copy !== undefined || size <= signed, 'tlog', `${torn} ${signed} entries: ${TORN}`);
      if (copy === undefined) continue;
      const what = `the copy ${nameOf(size)} in ${folder} has ${copy.size} entries and the database ${signed}`;
      const isAhead = copy.size > signed;
      const goesOn = isAhead && equal((await rootAt(copy.size)) ?? new Uint8Array(), copy.root);
      ensure(!isAhead || goesOn, 'tlog', `${what}: the database is older. ${ADVICE}`);
      if (!isAhead) await this.#ensureSame(copy);
      break;
    }
    this.#compared = true;
  }

  /** Undefined for a file that is torn, or that is no checkpoint of this log with this size. */
  async #read(size: number): Promise<Checkpoint | undefined> {
    const { folder, verifier } = this.#deps;
    try {
      const bytes = await this.#within(() => readIn(folder)(nameOf(size)));
      const copy = bytes && openCheckpoint(bytes, verifier);
      return copy?.size === size ? copy : undefined;
    } catch (error) {
      if (!isRefusal(error, 'tlog')) throw error;
      return undefined;
    }
  }

  async #ensureSame({ size, root }: Checkpoint): Promise<void> {
    const own = await this.#deps.store.checkpoint(size);
    const isSame = own?.size === size && own.root === hex(root);
    const what = `the copy ${nameOf(size)} in ${this.#deps.folder} has another tree of ${size} entries`;
    ensure(isSame, 'tlog', `${what} than the database. ${ADVICE}`);
  }

  /** Durable when it resolves. A file that exists stays as it is; the rest of one that was cut off is added. */
  async #write(size: number, note: string): Promise<void> {
    const [path, bytes] = [this.#at(size), utf8(note)];
    try {
      return await this.#within(() => writeSynced(path, 'wx', bytes));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    const copy = await this.#read(size);
    if (copy !== undefined) return this.#ensureSame(copy);
    await this.#within(async () => {
      const { size: length } = await fs.stat(path);
      const isCut = length < bytes.length && equal(await fs.readFile(path), bytes.subarray(0, length));
      if (!isCut) throw new Error(`${path} ${NO_COPY}`);
      await writeSynced(path, 'a', bytes.subarray(length));
    });
  }
}

const ANSWER_SECONDS = 5;
const LATE = Symbol('late');

const ADVICE = 'Put the newest ca.db in place; docs/audit.md says what to do without one';
const TORN =
  'a checkpoint of that size may have been signed. Move the file away and keep it; docs/audit.md says how to go on';
const NO_COPY =
  'is no checkpoint of this log: move it away and keep it, and give each CA a folder of its own';

/** The numbers of entries that the names of copies say, the greatest first. Throws what the file system refuses. */
export const copiesIn = async (folder: string): Promise<readonly number[]> =>
  (await fs.readdir(folder)).flatMap(sizeOf).sort((a, b) => b - a);

const nameOf = (size: number): string => `${size}.checkpoint`;

function sizeOf(name: string): readonly number[] {
  const size = Number(/^(0|[1-9]\d*)\.checkpoint$/.exec(name)?.[1]);
  return Number.isSafeInteger(size) ? [size] : [];
}

/** With "a" it works in a folder whose files may only grow. */
async function writeSynced(path: string, flags: 'wx' | 'a', bytes: Uint8Array): Promise<void> {
  const file = await fs.open(path, flags, 0o644);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Many writers, one transaction: whatever arrives while the last commit was reaching the disk shares the next one.
 * An fsync costs more than a hundred inserts, so this is what the issuing rate rests on.
 */
export interface Transaction {
  begin(): void;
  commit(): void;
  rollback(): void;
}

interface Write {
  readonly run: () => void;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/** Bounds one transaction, and with it how long the process cannot answer. */
const MAX_BATCH = 512;
/** A twelfth of what a renewal may take at the 99th percentile. */
const GATHER_MS = 2;

export class GroupCommit {
  readonly #transaction: Transaction;
  readonly #wrap: (error: unknown) => Error;
  #queue: Write[] = [];
  #scheduled = false;
  #committedAt = Number.NEGATIVE_INFINITY;

  constructor(transaction: Transaction, wrap: (error: unknown) => Error) {
    this.#transaction = transaction;
    this.#wrap = wrap;
  }

  /** `run` inserts; the promise resolves when its transaction is durable. */
  write(run: () => void): Promise<void> {
    return new Promise((done, failed) => {
      this.#queue.push({ run, done, failed });
      if (!this.#scheduled) this.#schedule();
    });
  }

  /** Under load a commit every few milliseconds serves everybody sooner than one each; a lone write goes at once. */
  #schedule(): void {
    this.#scheduled = true;
    if (performance.now() - this.#committedAt < GATHER_MS) setTimeout(() => this.flush(), GATHER_MS);
    else setImmediate(() => this.flush());
  }

  /** Commits what waits, now. */
  flush(): void {
    this.#scheduled = false;
    while (this.#queue.length > 0) this.#commit(this.#queue.splice(0, MAX_BATCH));
    this.#committedAt = performance.now();
  }

  #commit(batch: readonly Write[]): void {
    const { begin, commit, rollback } = this.#transaction;
    try {
      begin();
      for (const write of batch) write.run();
      commit();
    } catch (error) {
      this.#undo(rollback);
      // One write that cannot be made must not take its neighbours along.
      if (batch.length > 1) for (const write of batch) this.#commit([write]);
      else for (const write of batch) write.failed(this.#wrap(error));
      return;
    }
    for (const write of batch) write.done();
  }

  #undo(rollback: () => void): void {
    try {
      rollback();
    } catch {
      // The engine has rolled back by itself (disk full, I/O error): the first error is the one to tell.
    }
  }
}

/** The database in the thread that asks it: reads are answered at once, writes when this turn of the loop is over. */
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Database, DatabaseCall, WriteCall } from './calls.ts';
import { type DatabaseAt, Engine } from './engine.ts';
import { ensureSameFiles } from './file/same-files.ts';

interface Waiting {
  readonly call: WriteCall;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Throws store, file. */
export const openHere = (at: DatabaseAt): Database => new Here(Engine.open(at));

class Here implements Database {
  readonly lost = new Promise<never>(() => {});
  readonly #engine: Engine;
  #waiting: Waiting[] = [];
  #closed = false;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async call(call: DatabaseCall): Promise<unknown> {
    if (this.#closed) throw new IdentityError('store', 'the store is closed');
    if (call.kind === 'read') return this.#engine.read(call);
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#write());
      this.#waiting.push({ call, resolve, reject });
    });
  }

  copyTo(path: string): Promise<void> {
    return this.#engine.copyTo(path);
  }

  /** A call blocks the thread that could look. */
  waitedSeconds(): number {
    return 0;
  }

  ensureOwnFiles(): void {
    ensureSameFiles(this.#engine.files);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#write();
    this.#engine.close();
  }

  #write(): void {
    const waiting = this.#waiting.splice(0);
    if (waiting.length === 0) return;
    const outcomes = this.#engine.write(waiting.map(({ call }) => call));
    for (const [n, { resolve, reject }] of waiting.entries()) {
      const outcome = outcomes[n];
      if (outcome?.error === undefined) resolve(outcome?.value);
      else reject(outcome.error);
    }
  }
}

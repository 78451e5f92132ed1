/**
 * The database on a thread of its own: the disk is waited for there, and the event loop of the CA continues. Nothing is
 * answered before it is durable.
 */
import { Worker } from 'node:worker_threads';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Database, DatabaseCall } from '../calls.ts';
import type { DatabaseAt } from '../engine.ts';
import type { OnMigrating } from '../file/migrating.ts';
import { ensureSameFiles, type OwnFile } from '../file/same-files.ts';
import {
  crossed,
  type FromThread,
  type NumberedAnswer,
  type NumberedCall,
  type ToThread,
} from './messages.ts';

/** Calls that wait for an answer, at a disk that is stuck: about a kilobyte each. */
const MAX_WAITING = 16_384;
/** Within the 5 s in which a server ends, after the calls in flight have had their 2 s. */
const CLOSE_MS = 2_500;

/** Calls and answers live for milliseconds: a larger young generation only keeps memory that is not used. */
const YOUNG_MB = 4;

/**
 * Resolves when the database is open. The thread gets the names of the files, and neither the environment nor the
 * arguments of this process. `onMigrating` is called while it waits. Throws what opening throws: store, file.
 */
export async function openOnThread(at: DatabaseAt, onMigrating: OnMigrating): Promise<Database> {
  const url = new URL('./worker.ts', import.meta.url);
  const nothing = { env: {}, argv: [], execArgv: [] };
  const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MB };
  const worker = new Worker(url, { name: 'store', workerData: at, ...nothing, resourceLimits });
  const { promise: opened, resolve, reject } = Promise.withResolvers<readonly OwnFile[]>();
  const listen = (message: FromThread): void => {
    if (message.kind === 'migrating') {
      onMigrating(message.step);
      return;
    }
    worker.off('message', listen);
    if (message.kind === 'opened') resolve(message.files);
    else reject(message.kind === 'refused' ? crossed(message.error) : new TypeError(message.kind));
  };
  worker.on('message', listen);
  worker.once('error', (error) => reject(ended(at, error)));
  worker.once('exit', () => reject(ended(at)));
  return new StoreThread(worker, at, await opened);
}

interface Waiting {
  /** Milliseconds of the monotonic clock. */
  readonly since: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

class StoreThread implements Database {
  readonly lost: Promise<IdentityError>;
  readonly #worker: Worker;
  readonly #files: readonly OwnFile[];
  readonly #waiting = new Map<number, Waiting>();
  readonly #gone: Promise<void>;
  #outbox: NumberedCall[] = [];
  #last = 0;
  /** Why nothing is asked any more. */
  #over: IdentityError | undefined;
  #closed: Promise<void> | undefined;
  #copying: PromiseWithResolvers<void> | undefined;

  constructor(worker: Worker, at: DatabaseAt, files: readonly OwnFile[]) {
    this.#worker = worker;
    this.#files = files;
    const { promise: lost, resolve: lose } = Promise.withResolvers<IdentityError>();
    this.lost = lost;
    this.#gone = new Promise((resolve) => {
      worker.once('exit', () => {
        this.#end(ended(at));
        if (this.#closed === undefined && this.#over !== undefined) lose(this.#over);
        resolve();
      });
    });
    worker.on('error', (error) => this.#end(ended(at, error)));
    worker.on('message', (message: FromThread) => {
      if (message.kind === 'answers') for (const answer of message.answers) this.#answered(answer);
      if (message.kind === 'copied') this.#copied(message.error && crossed(message.error));
    });
  }

  async call(call: DatabaseCall): Promise<unknown> {
    if (this.#over !== undefined) throw this.#over;
    const { size } = this.#waiting;
    ensure(size < MAX_WAITING, 'store', `${size} calls wait for the database; try again later`);
    return new Promise((resolve, reject) => {
      this.#last += 1;
      this.#waiting.set(this.#last, { since: performance.now(), resolve, reject });
      // One message for all that is asked in one turn of the event loop.
      if (this.#outbox.length === 0) setImmediate(() => this.#post());
      this.#outbox.push({ number: this.#last, call });
    });
  }

  copyTo(path: string): Promise<void> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    const busy = new IdentityError('store', 'the database is being copied already; try again later');
    if (this.#copying !== undefined) return Promise.reject(busy);
    this.#copying = Promise.withResolvers<void>();
    const { promise } = this.#copying;
    this.#say({ kind: 'copy', path });
    return promise;
  }

  #copied(error: IdentityError | undefined): void {
    const copying = this.#copying;
    this.#copying = undefined;
    if (error === undefined) copying?.resolve();
    else copying?.reject(error);
  }

  waitedSeconds(): number {
    const [oldest] = this.#waiting.values();
    return oldest === undefined ? 0 : (performance.now() - oldest.since) / 1000;
  }

  ensureOwnFiles(): void {
    if (this.#over !== undefined) throw this.#over;
    ensureSameFiles(this.#files);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#over ??= new IdentityError('store', 'the store is closed');
    this.#post();
    this.#say({ kind: 'close' });
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, CLOSE_MS);
    await Promise.race([this.#gone, late]);
    clearTimeout(timer);
    const seconds = CLOSE_MS / 1000;
    this.#end(new IdentityError('store', `the database did not close within ${seconds} s`));
    this.#worker.unref();
  }

  #post(): void {
    const calls = this.#outbox.splice(0);
    if (calls.length === 0) return;
    try {
      this.#say({ kind: 'calls', calls });
    } catch (error) {
      // A value that cannot cross, which is a bug of ours: it must not take the process along.
      for (const { number } of calls)
        this.#taken(number)?.reject(new IdentityError('internal', String(error)));
    }
  }

  #say(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  #answered({ number, value, error }: NumberedAnswer): void {
    const waiting = this.#taken(number);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(crossed(error));
  }

  #taken(number: number): Waiting | undefined {
    const waiting = this.#waiting.get(number);
    this.#waiting.delete(number);
    return waiting;
  }

  /** Nobody may be left waiting: whether what they asked for was written is not known. */
  #end(why: IdentityError): void {
    this.#over ??= why;
    for (const { reject } of this.#waiting.values()) reject(why);
    this.#waiting.clear();
    this.#copied(why);
  }
}

function ended({ path }: DatabaseAt, error?: unknown): IdentityError {
  const says = error instanceof Error ? `: ${error.message}` : '';
  const advice = 'nothing can be signed any more: the CA has to start again';
  return new IdentityError('store', `${path}: the thread of the database ended${says}; ${advice}`, {
    cause: error,
  });
}

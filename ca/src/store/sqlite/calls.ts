/** What the database is asked, as plain values that may cross to another thread. */
import type { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Reads } from './reads.ts';
import type { Writes } from './writes.ts';

export interface ReadCall {
  readonly kind: 'read';
  readonly name: keyof Reads;
  readonly args: readonly unknown[];
}

export interface WriteCall {
  readonly kind: 'write';
  readonly name: keyof Writes;
  /** When it was asked for, in milliseconds. */
  readonly at: number;
  readonly args: readonly unknown[];
}

export type DatabaseCall = ReadCall | WriteCall;

/** Asks the database, wherever it runs. Writes are made in the order in which they are asked for. */
export interface Database {
  /** Resolves with the answer; for a write, when it is durable. Rejects with the refusal of the store. */
  call(call: DatabaseCall): Promise<unknown>;
  /** Writes a copy to `path`, with all that was answered before. Calls continue meanwhile. Rejects with store. */
  copyTo(path: string): Promise<void>;
  /** Resolves where it answers no more though nobody has closed it, and says why. */
  readonly lost: Promise<IdentityError>;
  /** For how many seconds the call that has waited longest has had no answer; 0 where none waits. */
  waitedSeconds(): number;
  /** Throws store if the files of the database are not those that were opened, or the database has ended. */
  ensureOwnFiles(): void;
  /** Answers the calls that wait, then closes the database. */
  close(): Promise<void>;
}

/**
 * Many writes, one transaction: a sync of the disk costs more than a hundred inserts, so this is what the issuing rate
 * rests on.
 */
import { isRefusal } from '@chancery/shared/ground/errors.ts';

export interface Transaction {
  /** Begins the transaction. Blocks. */
  begin(): void;
  /** Durable when it returns. */
  commit(): void;
  /** Takes everything back. Blocks. */
  rollback(): void;
  /** Remembers where the transaction is; what it returns takes back what came since, and says whether it could. */
  mark(): () => boolean;
}

export type Outcome =
  | { readonly value: unknown; readonly error?: undefined }
  | { readonly error: Error; readonly value?: undefined };

/**
 * Runs all of them in one transaction, and one by one where that fails: a write that cannot be made must not take its
 * neighbours along. If a write refuses before it changed anything, the rest of the batch commits. The outcomes are in
 * the order of the writes, and all of them are durable.
 */
export function commitTogether(
  writes: readonly (() => unknown)[],
  transaction: Transaction,
  wrap: (error: unknown) => Error,
): readonly Outcome[] {
  try {
    transaction.begin();
    const outcomes = writes.map((write) => outcomeOf(write, transaction));
    transaction.commit();
    return outcomes;
  } catch (error) {
    undo(transaction);
    if (writes.length === 1) return [{ error: wrap(error) }];
    return writes.flatMap((write) => commitTogether([write], transaction, wrap));
  }
}

function outcomeOf(write: () => unknown, transaction: Transaction): Outcome {
  const takeBack = transaction.mark();
  try {
    return { value: write() };
  } catch (error) {
    if (!isRefusal(error) || !takeBack()) throw error;
    return { error };
  }
}

function undo(transaction: Transaction): void {
  try {
    transaction.rollback();
  } catch {
    // The engine has rolled back by itself (disk full, I/O error): the first error is the one to tell.
  }
}

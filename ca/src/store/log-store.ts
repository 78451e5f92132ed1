/** What the store keeps of the Merkle log: the order of its entries, and one checkpoint for each size. */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';

export interface StoredEvent {
  readonly sequence: number;
  readonly at: Date;
  readonly event: AuditEvent;
}

export interface Leaves {
  /** The next entries, as text, in the order of the log. */
  readonly entries: readonly string[];
  /** The place after them: what follows is asked for with it. */
  readonly through: number;
}

export interface LogCheckpoint {
  /** How many entries the tree has. */
  readonly size: number;
  /** Hexadecimal. */
  readonly root: string;
  /** The place after its last entry. */
  readonly through: number;
  /** The signed note. */
  readonly note: string;
}

export interface LogStore {
  /**
   * Entries after a place; 0 is the beginning. It looks at no more than `limit` events, and there may be none among
   * them: the end is where `through` stays as it was. What was answered once never changes: no event appears before a
   * place that was answered.
   */
  leaves(after: number, limit: number): Promise<Leaves>;
  /** The newest; undefined before the first. */
  checkpoint(): Promise<LogCheckpoint | undefined>;
  /**
   * Writes a checkpoint where the newest has the size `from` (0: where there is none), and resolves with true when it
   * is durable. Writes nothing where another was made meanwhile: then false. So there is one for each size, for ever.
   */
  saveCheckpoint(from: number, checkpoint: LogCheckpoint): Promise<boolean>;
}

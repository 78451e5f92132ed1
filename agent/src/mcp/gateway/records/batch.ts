/**
 * Writes the records of one turn of the event loop together: a write costs more than a decision. Whatever waits for a
 * record continues right after the write, before any other event.
 */
import { bounded, type CallEvent, type RecordCall } from '../../call-event.ts';

/** `event` is undefined if the decision is already on record. */
interface Decided<T> {
  readonly event: CallEvent | undefined;
  readonly value: T;
}

/** Decides. Returns the event to write, if there is one, and what waits for it. */
type Decision = () => Awaited | undefined;

interface Awaited {
  readonly event: CallEvent;
  readonly onWritten: () => void;
  readonly onFailed: (error: unknown) => void;
}

interface Answer {
  readonly id: string;
  readonly event: () => CallEvent;
}

/** Writes the records of one turn of the event loop together. `flush` writes the waiting ones at once. */
export class RecordBatch {
  readonly #record: RecordCall;
  readonly #onLost: (error: unknown, ids: readonly string[]) => void;
  readonly #decisions: Decision[] = [];
  readonly #answers: Answer[] = [];

  /** `onLost` is called with answers that could not be recorded. */
  constructor(record: RecordCall, onLost: (error: unknown, ids: readonly string[]) => void) {
    this.#record = record;
    this.#onLost = onLost;
  }

  /**
   * Resolves with the value once its event is written. Calls `decide` at the end of the turn, right before the write,
   * so that it sees every change until then. Rejects with what `decide` or the write throws.
   */
  decide<T>(decide: () => Decided<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#decisions.push(() => {
        try {
          const { event, value } = decide();
          if (event !== undefined) return { event, onWritten: () => resolve(value), onFailed: reject };
          resolve(value);
        } catch (error) {
          reject(error);
        }
        return undefined;
      });
      this.#flushSoon();
    });
  }

  /** Records an answer. Nothing waits for the record. */
  answer(answer: Answer): void {
    this.#answers.push(answer);
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#decisions.length + this.#answers.length === 1) setImmediate(() => this.flush());
  }

  /** Writes what has gathered, and calls back those that wait for it. Blocks for the write. */
  flush(): void {
    const awaited = this.#decisions.splice(0).flatMap((decide) => decide() ?? []);
    const answers = this.#answers.splice(0);
    const events = [...awaited, ...answers.map(({ event }) => ({ event: event() }))];
    const ids = answers.map(({ id }) => id);
    try {
      this.#write(events);
    } catch (error) {
      // New calls may need more room than answers do.
      if (awaited.length > 0) this.#writeAnswers(events.slice(awaited.length), ids);
      else this.#onLost(error, ids);
      for (const { onFailed } of awaited) onFailed(error);
      return;
    }
    for (const { onWritten } of awaited) onWritten();
  }

  #writeAnswers(events: readonly { readonly event: CallEvent }[], ids: readonly string[]): void {
    try {
      this.#write(events);
    } catch (error) {
      this.#onLost(error, ids);
    }
  }

  #write(events: readonly { readonly event: CallEvent }[]): void {
    if (events.length > 0) this.#record(...events.map(({ event }) => bounded(event)));
  }
}

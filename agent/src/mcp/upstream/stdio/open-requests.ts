/**
 * The requests that one stdio server has not answered. A client that left or cancelled may use its id again, while the
 * server may still answer the first request: until then the second one goes under another id.
 */
import { randomUUID } from 'node:crypto';
import type { Id, Notification, Request } from '@chancery/shared/mcp/message.ts';
import { leastLevelOf, levelOf, progressTokenOf } from '../numbering.ts';
import type { Back } from '../upstream.ts';

export interface Waiting {
  readonly back: Back;
  /** The client's own, which the child may not have seen. */
  readonly id: Id;
  /** The client's own, and the one that the child knows. */
  readonly progressToken: Id | undefined;
  readonly token: Id | undefined;
  /** The least level of the log messages that it asked for. */
  readonly least: number | undefined;
  streaming: boolean;
}

/** A server that never answers what was cancelled is right (2025-11-25, "Cancellation"); the oldest gives way. */
const MAX_OWED = 1_000;

/** The open requests at one process, by the ids and progress tokens that the process knows. */
export class OpenRequests {
  /** By the ids, and by the progress tokens, that the child knows. */
  readonly #waiting = new Map<Id, Waiting>();
  readonly #byToken = new Map<Id, Waiting>();
  /** Ids that the child knows, of requests that nobody waits for any more. */
  readonly #owed = new Set<Id>();
  #nextId = 1;

  get idle(): boolean {
    return this.#waiting.size === 0;
  }

  /** `renumber` gives it an id of our own. Returns the id that the child is to know it by. */
  open(request: Request, back: Back, renumber: boolean): { readonly id: Id; readonly waiting: Waiting } {
    const again = this.#owed.has(request.id);
    const id = renumber ? this.#nextId++ : again ? randomUUID() : request.id;
    const progressToken = progressTokenOf(request);
    const token = (renumber || again) && progressToken !== undefined ? id : progressToken;
    const least = leastLevelOf(request);
    const waiting = { back, id: request.id, progressToken, token, least, streaming: false };
    this.#waiting.set(id, waiting);
    if (token !== undefined) this.#byToken.set(token, waiting);
    return { id, waiting };
  }

  get(id: Id): Waiting | undefined {
    return this.#waiting.get(id);
  }

  byToken(token: unknown): Waiting | undefined {
    return typeof token === 'string' || typeof token === 'number' ? this.#byToken.get(token) : undefined;
  }

  /** Those that their client knows by this id, with the child's. */
  namedBy(id: Id | undefined): readonly (readonly [Id, Waiting])[] {
    return [...this.#waiting].filter(([, waiting]) => waiting.id === id);
  }

  /** It is answered: by its id, or by its number as a string, as servers answer that keep ids as text. */
  take(answered: Id): Waiting | undefined {
    const id = this.#known(answered);
    this.#owed.delete(id);
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    const { token } = waiting ?? {};
    if (token !== undefined && this.#byToken.get(token) === waiting) this.#byToken.delete(token);
    return waiting;
  }

  /** What answers it cannot be read, and may be a line of a log: the answer may still come. */
  fail(answered: Id): Waiting | undefined {
    const id = this.#known(answered);
    const waiting = this.#waiting.get(id);
    if (waiting !== undefined || this.#owed.has(id)) this.leave(id);
    return waiting;
  }

  #known(answered: Id): Id {
    const known = this.#waiting.has(answered) || this.#owed.has(answered);
    return known || String(Number(answered)) !== answered ? answered : Number(answered);
  }

  /** Nobody waits for its answer, which may still come. */
  leave(id: Id): void {
    this.take(id);
    this.#owed.add(id);
    const [oldest] = this.#owed;
    if (this.#owed.size > MAX_OWED && oldest !== undefined) this.#owed.delete(oldest);
  }

  isOwed(id: Id): boolean {
    return this.#owed.has(id);
  }

  takeAll(): readonly Waiting[] {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#byToken.clear();
    return all;
  }

  /**
   * 2026-07-28, "Logging": log messages belong to the request that asked for their level. Over stdio they do not say
   * which one that is, so each open request that asked for it gets them: all are the same caller's.
   */
  askersOf(log: Notification): readonly Waiting[] {
    const level = levelOf(log);
    return [...this.#waiting.values()].filter(({ least }) => least !== undefined && level >= least);
  }
}

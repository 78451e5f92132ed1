/**
 * The requests that one stdio server has not answered. A client that left or cancelled may use its id again while the
 * server may still answer the first request: until then the second one gets another id.
 */
import { randomUUID } from 'node:crypto';
import type { Id, Notification, Request } from '@chancery/shared/mcp/message.ts';
import { leastLevelOf, levelOf, progressTokenOf } from '../numbering.ts';
import type { Back } from '../upstream.ts';

export interface Waiting {
  readonly back: Back;
  /** The client's id, which the child may not know. */
  readonly id: Id;
  /** The client's progress token, and the one that the child knows. */
  readonly progressToken: Id | undefined;
  readonly token: Id | undefined;
  /** The least level of log messages that it wants. */
  readonly least: number | undefined;
  streaming: boolean;
}

/** A server need not answer a cancelled request (2025-11-25, "Cancellation"), so the oldest gives way. */
const MAX_OWED = 1_000;

/** The open requests at one process, by the ids and progress tokens that the process knows. */
export class OpenRequests {
  /** By the ids and the progress tokens that the child knows. */
  readonly #waiting = new Map<Id, Waiting>();
  readonly #byToken = new Map<Id, Waiting>();
  /** Ids that the child knows, of requests that nobody waits for. */
  readonly #owed = new Set<Id>();
  #nextId = 1;

  /** True if no request is open. */
  get idle(): boolean {
    return this.#waiting.size === 0;
  }

  /** The request that was opened last. */
  get newest(): Waiting | undefined {
    return [...this.#waiting.values()].at(-1);
  }

  /** `renumber` gives the request an id of our own. Returns the id for the child. */
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

  /** The open request with the child's id. */
  get(id: Id): Waiting | undefined {
    return this.#waiting.get(id);
  }

  /** The open request with this progress token; undefined if there is none. */
  byToken(token: unknown): Waiting | undefined {
    return typeof token === 'string' || typeof token === 'number' ? this.#byToken.get(token) : undefined;
  }

  /** The requests with this id of their client, each with the child's id. */
  namedBy(id: Id | undefined): readonly (readonly [Id, Waiting])[] {
    return [...this.#waiting].filter(([, waiting]) => waiting.id === id);
  }

  /**
   * Removes an answered request. The answer has its id, or its number as a string: servers that keep ids as text send
   * that.
   */
  take(answered: Id): Waiting | undefined {
    const id = this.#known(answered);
    this.#owed.delete(id);
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    const { token } = waiting ?? {};
    if (token !== undefined && this.#byToken.get(token) === waiting) this.#byToken.delete(token);
    return waiting;
  }

  /** The line that answers it cannot be read. It may be a log line, so the real answer may still come. */
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

  /** Nobody waits for the answer any more, but it may still come. */
  leave(id: Id): void {
    this.take(id);
    this.#owed.add(id);
    const [oldest] = this.#owed;
    if (this.#owed.size > MAX_OWED && oldest !== undefined) this.#owed.delete(oldest);
  }

  /** Whether the server may still answer an earlier request with this id, which its client left. */
  isOwed(id: Id): boolean {
    return this.#owed.has(id);
  }

  /** Removes and returns all open requests: the server has ended. */
  takeAll(): readonly Waiting[] {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#byToken.clear();
    return all;
  }

  /**
   * Log messages belong to the request that asked for their level (2026-07-28, "Logging"). Over stdio they do not name
   * it, so each open request that asked for the level gets them: all are of the same caller.
   */
  askersOf(log: Notification): readonly Waiting[] {
    const level = levelOf(log);
    return [...this.#waiting.values()].filter(({ least }) => least !== undefined && level >= least);
  }
}

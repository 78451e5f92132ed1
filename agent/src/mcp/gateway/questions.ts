/**
 * What the server of a legacy session has asked its client and waits for. The client gets each question under an id of
 * the gateway's own, which is never used again: an answer that comes late answers no later question.
 */
import { randomUUID } from 'node:crypto';
import type { Asks } from '@chancery/shared/mcp/asking/asks.ts';
import type { Id } from '@chancery/shared/mcp/message.ts';
import type { What } from '@chancery/shared/policy/call.ts';

/** A request of the client that is open while its server asks. */
export interface OpenUse {
  readonly requestId: Id;
  readonly what: What | undefined;
  /** How many questions belonged to it so far. */
  questions?: number;
}

export interface Question {
  /** As the client knows it. */
  readonly id: Id;
  /** The server's own id. */
  readonly asked: Id;
  readonly method: string;
  /** Undefined for a ping, which needs no rule. */
  readonly asks: Asks | undefined;
  readonly recordId: string;
  /** `performance.now()`. */
  readonly startedMs: number;
  /** The client's requests that it may belong to; it is over when all of them are. */
  readonly during: readonly OpenUse[];
  /** SHA-256 of what was asked. */
  readonly paramsSha256: string | undefined;
}

type Asked = Pick<Question, 'asked' | 'method' | 'asks' | 'during' | 'paramsSha256'>;

/** Questions without an answer, of one session and of one call: no user answers more. */
const MAX_OPEN = 64;
const MAX_OPEN_OF_CALL = 16;
/** A server that never comes to an end, in one call. */
export const MAX_QUESTIONS_OF_CALL = 100;
/** As long as a user may take to answer. */
export const ANSWER_WITHIN_MS = 3_600_000;

/** The questions of one session. */
export class Questions {
  readonly #open = new Map<Id, Question>();
  readonly #nowMs: () => number;

  /** `nowMs` is a clock that never goes back, as `performance.now()` is. */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** How many have no answer, pings among them. */
  get size(): number {
    return this.#open.size;
  }

  /** Why there is no room for one more; undefined if there is. */
  whyFull(during: readonly OpenUse[]): string | undefined {
    const open = [...this.#open.values()].filter(({ asks }) => asks !== undefined);
    if (open.length >= MAX_OPEN) return `${MAX_OPEN} questions of this session have no answer`;
    const openOf = (use: OpenUse) => open.filter((each) => each.during.includes(use)).length;
    if (during.some((use) => openOf(use) >= MAX_OPEN_OF_CALL))
      return `${MAX_OPEN_OF_CALL} questions of this call have no answer`;
    const asked = Math.max(0, ...during.map(({ questions = 0 }) => questions));
    return asked >= MAX_QUESTIONS_OF_CALL
      ? `a call has at most ${MAX_QUESTIONS_OF_CALL} questions`
      : undefined;
  }

  /** Gives it an id, and counts it for each of its requests. */
  add(asked: Asked, recordId: string): Question {
    const question = { ...asked, id: randomUUID(), recordId, startedMs: this.#nowMs() };
    this.#open.set(question.id, question);
    for (const use of asked.during) use.questions = (use.questions ?? 0) + 1;
    return question;
  }

  /** A ping keeps its id. The oldest one gives way. */
  addPing(asked: Id): void {
    const pings = [...this.#open.values()].filter(({ asks }) => asks === undefined);
    if (pings.length >= MAX_OPEN) this.#open.delete(pings[0]?.id ?? asked);
    const ping = { id: asked, asked, method: 'ping', asks: undefined, recordId: '', during: [] };
    this.#open.set(asked, { ...ping, startedMs: this.#nowMs(), paramsSha256: undefined });
  }

  /** Removes it: a question is answered once. */
  take(id: Id | undefined): Question | undefined {
    const found = id === undefined ? undefined : this.#open.get(id);
    if (found !== undefined) this.#open.delete(found.id);
    return found;
  }

  /** By the id of the server, which may send a question again on a stream that was resumed. */
  ofServer(asked: Id | undefined): Question | undefined {
    return [...this.#open.values()].find((each) => each.asks !== undefined && each.asked === asked);
  }

  /** Why nobody waits for the answer any more; undefined if somebody does. */
  whyOver({ asks, during, startedMs }: Question, isOpen: (use: OpenUse) => boolean): string | undefined {
    if (asks === undefined) return undefined;
    if (during.length > 0 && !during.some(isOpen)) return 'the request that the question belonged to is over';
    const isLate = this.#nowMs() - startedMs > ANSWER_WITHIN_MS;
    return isLate ? 'the question had no answer for an hour' : undefined;
  }

  /** Removes and returns those that are over, each with the reason. */
  takeOver(isOpen: (use: OpenUse) => boolean): readonly (readonly [Question, why: string])[] {
    return [...this.#open.values()].flatMap((question) => {
      const why = this.whyOver(question, isOpen);
      if (why === undefined) return [];
      this.#open.delete(question.id);
      return [[question, why] as const];
    });
  }

  /** Removes and returns all but pings. */
  takeAll(): readonly Question[] {
    const all = [...this.#open.values()].filter(({ asks }) => asks !== undefined);
    this.#open.clear();
    return all;
  }
}

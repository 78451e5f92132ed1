/**
 * Decides which of a server's messages go to the client of one request: answers only to what it asked, lists filtered
 * for this caller, and no notification or request that no rule allows. Records what it drops.
 */
import type { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Asks } from '@chancery/shared/mcp/asking/asks.ts';
import { isInputRequired } from '@chancery/shared/mcp/asking/rounds.ts';
import {
  type Message,
  type Notification,
  type Request,
  type Response,
  writeMessage,
} from '@chancery/shared/mcp/message.ts';
import { narrowError, promisedIn } from '@chancery/shared/mcp/results.ts';
import {
  acknowledgement,
  changedList,
  type Filter,
  LISTEN,
  SUBSCRIBE,
  tagged,
  UNSUBSCRIBE,
} from '@chancery/shared/mcp/subscription.ts';
import { createdIn } from '@chancery/shared/mcp/tasks.ts';
import { type Call, subscriptionTo, taskBy, type What } from '@chancery/shared/policy/call.ts';
import { decide, decideList } from '@chancery/shared/policy/decide.ts';
import { deciderOf, ensureFew } from '@chancery/shared/policy/decider.ts';
import type { Decision } from '@chancery/shared/policy/decision.ts';
import { badAnswer } from '../../upstream/upstream.ts';
import { dataOf, denial, refusalResponse } from '../../wire/answer/reply.ts';
import { mayAskFor } from '../judge/asks.ts';
import { deniedBy } from '../judge/judge.ts';
import { type Hearing, told, toldOfRequest, toldOnStream } from '../judge/told.ts';
import { liveUris, type PendingRequest, type Session, unsubscribe } from '../sessions.ts';
import { holderOf, type Whose, whoseOf } from '../whose.ts';
import { narrowAnswer } from './answers.ts';
import { type Asking, ask, deniedByUrl, endOver, inputRequired, usesOf, withdrawn } from './asking.ts';
import type { ExchangeFacts, Gate } from './gate.ts';

/**
 * Decides which of the server's messages one exchange passes on, and records what it drops. It writes no answer itself.
 */
export class Passing {
  readonly #gate: Gate;
  readonly #facts: ExchangeFacts;
  session: Session | undefined;
  /** The answer to the request has been passed on. */
  answered = false;
  outcome: 'result' | 'error' | undefined;
  /** What the server has agreed to notify of, on the stream of a subscription. */
  agreed: Filter | undefined;

  constructor(gate: Gate, facts: ExchangeFacts) {
    this.#gate = gate;
    this.#facts = facts;
  }

  /** What goes to the client for this message of the server. Undefined drops it. */
  pass(message: Message): string | undefined {
    if (message.kind === 'response') return this.#passAnswer(message);
    return message.kind === 'notification' ? this.#passTold(message) : this.#passQuestion(message);
  }

  #passTold(message: Notification): string | undefined {
    const { recorder } = this.#gate;
    const [{ peer, era }, session] = [this.#facts, this.session];
    const taken =
      era === 'legacy' && session !== undefined ? withdrawn(this.#asking, message, session) : undefined;
    const { said, observed } = taken === undefined ? this.#told(message) : { said: taken, observed: false };
    if (said === undefined) recorder.dropped(peer, message, `a server may not send ${message.method}`);
    else recorder.told(peer, message, observed);
    return said && writeMessage(said);
  }

  #passQuestion(message: Request): string | undefined {
    const { recorder, upstream } = this.#gate;
    const [{ peer, era, request, pending }, session] = [this.#facts, this.session];
    if (era === 'legacy' && session !== undefined) {
      if (message.method === 'ping') {
        session.questions.addPing(message.id);
        recorder.told(peer, message);
        return writeMessage(message);
      }
      const during = usesOf(message, pending, upstream.oneChannel === true ? undefined : request);
      const question = ask(this.#asking, message, { session, during });
      return question && writeMessage(question);
    }
    const reason = `a server may not ask ${message.method} here`;
    recorder.dropped(peer, message, reason);
    // In the modern era servers send no requests, so there is no way to answer one.
    const refusal = denial(message.id, { allow: false, rule: undefined, reason }, 'none');
    if (era === 'legacy') upstream.refuse(session?.upstream, refusal);
    return undefined;
  }

  /** Ends the questions that belonged to this exchange, once it is over. */
  ended(): void {
    if (this.session !== undefined) endOver(this.#gate, this.#facts.peer, this.session);
  }

  /** What goes to the client for a change of a list that a policy made; undefined if it did not ask to be told. */
  own(notification: Notification): string | undefined {
    const { peer, request } = this.#facts;
    const listed = changedList(notification);
    if (listed === undefined) return undefined;
    const [id, hears] =
      request?.method === LISTEN
        ? [request.id, this.agreed?.lists.includes(listed) === true]
        : [undefined, listed === 'tool' || this.session?.promised.has(listed) === true];
    if (!hears) return undefined;
    this.#gate.recorder.told(peer, notification);
    return writeMessage(id === undefined ? notification : tagged(id, notification.method));
  }

  #told(message: Notification): { readonly said: Notification | undefined; readonly observed: boolean } {
    let observed = false;
    const hearing = this.#hearing((decision) => {
      observed ||= decision.allow && decision.observed === true;
      return decision.allow;
    });
    return { said: this.#toldTo(message, hearing), observed };
  }

  #toldTo(message: Notification, hearing: Hearing): Notification | undefined {
    const { era, request, pending } = this.#facts;
    if (era === 'legacy') return told(message, hearing, liveUris(this.session));
    if (request?.method !== LISTEN) return toldOfRequest(message, hearing);
    if (this.agreed !== undefined) return toldOnStream(request.id, message, this.agreed, hearing);
    const listens = pending.get(request.id)?.listens;
    const begins = listens && acknowledgement(request.id, message, listens);
    this.agreed = begins?.agreed;
    return begins?.said;
  }

  /** The body of an HTTP answer. An error in it is about the request that was posted, whatever id it names. */
  passWhole(message: Message): string | undefined {
    const { peer, request } = this.#facts;
    if (message.kind !== 'response') {
      this.#gate.recorder.dropped(peer, message, 'a call in the place of an answer');
      return undefined;
    }
    if (message.error === undefined) return this.#passAnswer(message);
    if (request === undefined) return writeMessage(narrowError(message));
    return this.#passAnswer({ ...message, id: request.id });
  }

  #passAnswer(response: Response): string | undefined {
    const { peer, request, pending } = this.#facts;
    const asked = response.id === undefined ? undefined : pending.get(response.id);
    if (asked === undefined || response.id === undefined) {
      this.#gate.recorder.dropped(peer, response, 'an answer to nothing that was asked here');
      return undefined;
    }
    const isOwn = response.id === request?.id;
    let passed: Response;
    let text: string;
    try {
      passed = this.#narrowed(asked, response);
      text = writeMessage(passed);
    } catch (error) {
      // What fails ends the exchange, and with it its own request, which waits until then.
      if (isOwn) throw error;
      return this.#unreadable(asked, badAnswer(error));
    }
    pending.delete(response.id);
    this.#gate.recorder.answered(peer, asked, passed, text);
    this.#note(asked, passed);
    if (!isOwn) return text;
    this.answered = true;
    this.outcome = passed.error === undefined ? 'result' : 'error';
    return text;
  }

  /** Ends another request of the session, whose answer came here: its own exchange may be over. */
  #unreadable(asked: PendingRequest, error: IdentityError): string {
    const { peer, pending } = this.#facts;
    pending.delete(asked.requestId);
    const outcome = error.code === 'mcp_outcome' ? 'unknown' : 'error';
    this.#gate.recorder.unanswered(peer, asked, outcome, error.message);
    return writeMessage(refusalResponse(error, asked.requestId, dataOf(error, asked.recordId)));
  }

  /**
   * Asks the newest policy again: a new policy cuts the connection of a denied call, but its client may resume the
   * answer on another one.
   */
  #narrowed(asked: PendingRequest, response: Response): Response {
    const policy = this.#gate.policy.current();
    const where = { ...this.#where, now: this.#gate.clock.now(), session: this.session?.id };
    const decider = deciderOf(policy, where);
    // What was given up needs no rule.
    const what = asked.method === UNSUBSCRIBE ? undefined : asked.what;
    const denied = what === undefined ? undefined : deniedBy(decider, what);
    const withheld = denied ?? deniedByUrl(this.#asking, asked, response);
    if (withheld !== undefined) return denial(response.id, withheld, asked.recordId);
    const asksBack = this.#facts.era === 'modern' && response.error === undefined && mayAskFor(what);
    if (asksBack && isInputRequired(asked.method, response.result))
      return inputRequired(this.#asking, { ...asked, what }, response);
    return narrowAnswer(asked, response, {
      era: this.#facts.era,
      freeText: this.#gate.freeText,
      may: (what) => {
        const may = decider.mayCall(what) !== 'no';
        ensureFew(decider, `a page of ${asked.method}`);
        return may;
      },
      toolOf: (task) => this.#gate.tasks.of(this.#facts.peer.id).toolOf(task),
      mayExpand: (template) => decider.mayExpand(template),
      lets: (kind) => decideList(policy, where, kind).allow,
    });
  }

  /** What the answer means for the session, and for later requests of the caller. */
  #note({ method, what, makesTask }: PendingRequest, { result }: Response): void {
    const task = makesTask === true && result !== undefined ? createdIn(result) : undefined;
    if (task !== undefined && what !== undefined) this.#gate.tasks.add(this.#facts.peer.id, what.name, task);
    const { session } = this;
    if (session === undefined) return;
    if (method === 'initialize' && result !== undefined) session.promised = promisedIn(result);
    if (method === SUBSCRIBE && result === undefined) unsubscribe(session, what?.name ?? '');
  }

  /** By the newest policy. `says` notes how each decision was made, and answers with it. */
  #hearing(says: (decision: Decision) => boolean): Hearing {
    const { freeText, policy: source, clock, tasks } = this.#gate;
    const { peer } = this.#facts;
    const policy = source.current();
    const may = (what: What): boolean => says(decide(policy, this.#callOf(what)));
    const where = { ...this.#where, now: clock.now() };
    return {
      mayLog: (name) => freeText.logs && may({ kind: 'logging', name }),
      mayHear: (uri) => may(subscriptionTo(uri)),
      mayFollow: (id) => {
        const tool = tasks.of(peer.id).toolOf(id);
        return tool !== undefined && may(taskBy(tool));
      },
      mayList: (listed) => listed === 'tool' || says(decideList(policy, where, listed)),
      mayAsk: (asks: Asks) => says(decideList(policy, where, asks)),
    };
  }

  get #asking(): Asking {
    const { gate, peer } = { gate: this.#gate, peer: this.#facts.peer };
    return { gate, peer, where: { ...this.#where, now: gate.clock.now(), session: this.session?.id } };
  }

  #callOf(what: What): Call {
    return { ...this.#where, what, now: this.#gate.clock.now(), session: this.session?.id };
  }

  get #where(): Whose & Pick<Call, 'server'> {
    const { peer, call } = this.#facts;
    return { ...whoseOf(holderOf(peer, call), call), server: this.#gate.server };
  }
}

/**
 * Decides which of a server's messages go to the client of one request: answers only to what it asked, lists filtered
 * for this caller, and no notification or request that no rule allows. Records what it drops.
 */
import { type Message, type Response, writeMessage } from '@chancery/shared/mcp/message.ts';
import { narrowError } from '@chancery/shared/mcp/results.ts';
import { acknowledgesTools } from '@chancery/shared/mcp/subscription.ts';
import type { Call, What } from '@chancery/shared/policy/call.ts';
import { decide, decideList, mayCall, mayExpand } from '@chancery/shared/policy/decide.ts';
import type { Decision } from '@chancery/shared/policy/decision.ts';
import { denial } from '../../wire/answer/reply.ts';
import { deniedMeanwhile } from '../judge/judge.ts';
import { mayAsk, told } from '../judge/told.ts';
import type { PendingRequest, Session } from '../sessions.ts';
import { type Whose, whoseOf } from '../whose.ts';
import { narrowAnswer } from './answers.ts';
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
  /** The server has agreed to notify of changes of the list. */
  subscribed = false;

  constructor(gate: Gate, facts: ExchangeFacts) {
    this.#gate = gate;
    this.#facts = facts;
  }

  /** What goes to the client for this message of the server. Undefined drops it. */
  pass(message: Message): string | undefined {
    if (message.kind === 'response') return this.#passAnswer(message);
    const { recorder, upstream } = this.#gate;
    const [{ peer, era, request }, session] = [this.#facts, this.session];
    if (message.kind === 'notification') {
      let observed = false;
      const said = told(message, request, (level) => {
        const decision = this.#logs(level);
        observed = decision.allow && decision.observed === true;
        return decision.allow;
      });
      if (said === undefined) recorder.dropped(peer, message, `a server may not send ${message.method}`);
      else recorder.told(peer, message, observed);
      this.subscribed ||= said !== undefined && acknowledgesTools(said);
      return said && writeMessage(said);
    }
    if (era === 'legacy' && session !== undefined && mayAsk(message.method)) {
      session.serverRequests.add(message.id);
      recorder.told(peer, message);
      return writeMessage(message);
    }
    const reason = `no kind of rule can allow a server ${message.method}`;
    recorder.dropped(peer, message, reason);
    // In the modern era servers send no requests, so there is no way to answer one.
    const refusal = denial(message.id, { allow: false, rule: undefined, reason }, 'none');
    if (era === 'legacy') upstream.refuse(session?.upstream, refusal);
    return undefined;
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
    pending.delete(response.id);
    const passed = this.#narrowed(asked, response);
    const text = writeMessage(passed);
    this.#gate.recorder.answered(peer, asked, passed, text);
    if (response.id !== request?.id) return text;
    this.answered = true;
    this.outcome = passed.error === undefined ? 'result' : 'error';
    return text;
  }

  /**
   * Asks the newest policy again: a new policy cuts the connection of a denied call, but its client may resume the
   * answer on another one.
   */
  #narrowed(asked: PendingRequest, response: Response): Response {
    const policy = this.#gate.policy.current();
    const denied = asked.what === undefined ? undefined : deniedMeanwhile(policy, this.#callOf(asked.what));
    if (denied !== undefined) return denial(response.id, denied, asked.recordId);
    return narrowAnswer(asked, response, {
      era: this.#facts.era,
      freeText: this.#gate.freeText,
      may: (what) => mayCall(policy, this.#callOf(what)) !== 'no',
      mayExpand: (name) => mayExpand(policy, this.#callOf({ kind: 'resource', name })),
      lets: (kind) => decideList(policy, { ...this.#where, now: this.#gate.clock.now() }, kind).allow,
    });
  }

  #logs(level: string): Decision {
    const { freeText, policy } = this.#gate;
    if (!freeText.logs)
      return { allow: false, rule: undefined, reason: 'its gateway passes no log messages' };
    return decide(policy.current(), this.#callOf({ kind: 'logging', name: level }));
  }

  #callOf(what: What): Call {
    return { ...this.#where, what, now: this.#gate.clock.now(), session: this.session?.id };
  }

  get #where(): Whose & Pick<Call, 'server'> {
    const { peer, call } = this.#facts;
    return { ...whoseOf(peer, call), server: this.#gate.server };
  }
}

/** Passes questions of a server on to the client where rules let them, and answers the server itself where not. */
import { type Asks, asksByUrl, asksOf } from '@chancery/shared/mcp/asking/asks.ts';
import {
  type InputRequest,
  readInputRequired,
  writeInputRequired,
} from '@chancery/shared/mcp/asking/rounds.ts';
import {
  errorResponse,
  type Notification,
  type Request,
  type Response,
} from '@chancery/shared/mcp/message.ts';
import type { Call, What } from '@chancery/shared/policy/call.ts';
import type { Allowed, Denied } from '@chancery/shared/policy/decision.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { sha256 } from '../../call-event.ts';
import { cancelledId } from '../../upstream/numbering.ts';
import { DENIED, denial } from '../../wire/answer/reply.ts';
import { decideAsking, mayAskFor } from '../judge/asks.ts';
import { MAX_QUESTIONS_OF_CALL, type OpenUse, type Question } from '../questions.ts';
import type { Pending, PendingRequest, Session } from '../sessions.ts';
import type { Gate } from './gate.ts';

/** Of an exchange, for a question in it. */
export interface Asking {
  readonly gate: Gate;
  readonly peer: VerifiedSvid;
  readonly where: Omit<Call, 'what' | 'arguments'>;
}

const noKind = (method: string): Denied => ({
  allow: false,
  rule: undefined,
  reason: `no kind of rule can allow a server ${method}`,
});

/**
 * The question as the client gets it, in the legacy era; undefined if it does not, and then the server has been
 * answered. `during` are the requests of the client that it may belong to.
 */
export function ask(
  { gate, peer, where }: Asking,
  question: Request,
  { session, during }: { readonly session: Session; readonly during: readonly PendingRequest[] },
): Request | undefined {
  const { recorder, upstream } = gate;
  const { method, params = {}, id: asked } = question;
  const asks = asksOf(method, params);
  const policy = gate.policy.current();
  endOver(gate, peer, session);
  const whats = during.map(({ what }) => what).filter(mayAskFor);
  const decided = asks === undefined ? noKind(method) : decideAsking(policy, where, { asks, during: whats });
  const paramsSha256 = sha256(JSON.stringify(params));
  const before = session.questions.ofServer(asked);
  const isAgain = before?.method === method && before.paramsSha256 === paramsSha256;
  if (isAgain && decided.allow) return { ...question, id: before.id };
  if (before !== undefined) {
    recorder.dropped(peer, question, 'its id is that of a question that has no answer');
    return undefined;
  }
  const full = session.questions.whyFull(during);
  const decision: Allowed | Denied =
    full === undefined || !decided.allow ? decided : { allow: false, rule: undefined, reason: full };
  const about = { method, requestId: asked, what: whats[0], policy, session: session.id, paramsSha256 };
  const recordId = recorder.asked(peer, about, decision);
  if (decision.allow) {
    const { id } = session.questions.add({ asked, method, asks, during, paramsSha256 }, recordId);
    return { ...question, id };
  }
  upstream.refuse(session.upstream, denial(asked, decision, recordId));
  return undefined;
}

/**
 * The client's open requests that a question on this stream may belong to: the use that the stream answers, or else
 * any. Then one for roots belongs to none: it would end with a request that it has nothing to do with.
 */
export function usesOf(
  { method }: Request,
  pending: Pending,
  own: Request | undefined,
): readonly PendingRequest[] {
  const isUse = (each: PendingRequest | undefined): each is PendingRequest => mayAskFor(each?.what);
  const answered = own && pending.get(own.id);
  if (isUse(answered)) return [answered];
  return asksOf(method) === 'roots' ? [] : [...pending.values()].filter(isUse);
}

/** Ends questions whose requests are over, and old ones: nobody waits for their answers. */
export function endOver(gate: Gate, peer: VerifiedSvid, session: Session): void {
  for (const [question, why] of session.questions.takeOver(isOpenIn(session)))
    giveUp(gate, { session, peer }, question, why);
}

/** Whether a request is still open; another one may have its id by now. */
export const isOpenIn =
  ({ pending }: Session) =>
  (use: OpenUse): boolean =>
    pending.get(use.requestId) === use;

/** Answers the server with an error, since its client will not, and records why. */
export function giveUp(
  gate: Gate,
  {
    session,
    peer,
  }: { readonly session: Session; readonly peer: Pick<VerifiedSvid, 'id' | 'serial' | 'attested'> },
  question: Question,
  why: string,
): void {
  gate.recorder.unansweredQuestion(peer, question, why);
  refuseQuestion(gate, session, question, why);
}

/** Answers the server with an error. */
export function refuseQuestion({ upstream }: Gate, session: Session, { asked }: Question, why: string): void {
  upstream.refuse(session.upstream, errorResponse(asked, { code: DENIED, message: why }));
}

/** The notification by which a server takes back its question, under the id that the client knows. */
export function withdrawn(
  { gate, peer }: Asking,
  cancelled: Notification,
  session: Session,
): Notification | undefined {
  const question = session.questions.ofServer(cancelledId(cancelled));
  if (question === undefined) return undefined;
  session.questions.take(question.id);
  gate.recorder.unansweredQuestion(peer, question, 'the server took it back');
  return { ...cancelled, params: { ...cancelled.params, requestId: question.id } };
}

/**
 * A result that asks the client, in the modern era, as it goes there: with a state of ours in the place of the
 * server's. A denial if one of the questions may not be asked. Throws mcp_parse.
 */
export function inputRequired(
  { gate, peer, where }: Asking,
  asked: PendingRequest & { readonly what: What },
  response: Response & { readonly error: undefined },
): Response {
  const { questions, state } = readInputRequired(response.result);
  const policy = gate.policy.current();
  const { what, round, method } = asked;
  const decided = questions.map((each) => ({
    ...each,
    decision:
      each.asks === undefined
        ? noKind(each.method)
        : decideAsking(policy, where, { asks: each.asks, during: [what] }),
  }));
  const record = ({ method, key, params }: InputRequest, decision: Allowed | Denied): string =>
    gate.recorder.asked(
      peer,
      {
        method,
        requestId: key,
        what,
        policy,
        session: undefined,
        paramsSha256: sha256(JSON.stringify(params)),
      },
      decision,
    );
  for (const each of decided) {
    const { decision } = each;
    if (decision.allow) continue;
    record(each, decision);
    return denial(response.id, decision, asked.recordId);
  }
  const why =
    round === undefined ? 'no rule let the server ask when the request was made' : whyEnough(round.count);
  if (round === undefined || why !== undefined)
    return denial(response.id, { allow: false, rule: undefined, reason: why ?? '' }, asked.recordId);
  const recorded = decided.flatMap(({ asks, decision, ...each }) =>
    asks === undefined ? [] : [{ key: each.key, asks, recordId: record({ ...each, asks }, decision) }],
  );
  const { caller, server } = where;
  const bound = { caller, server, method, name: what.name, argumentsSha256: round.argumentsSha256 };
  const sealed = gate.states.seal(bound, { count: round.count + 1, asked: recorded, state });
  return { ...response, result: writeInputRequired(response.result, questions, sealed) };
}

const whyEnough = (count: number): string | undefined =>
  count < MAX_QUESTIONS_OF_CALL ? undefined : `the server has asked ${count} times for one request`;

/** Why an error of the server, which asks the user to open a URL, does not pass; undefined if it does or is another. */
export function deniedByUrl(
  { gate, peer, where }: Asking,
  { what, method, requestId }: PendingRequest,
  response: Response,
): Denied | undefined {
  // Of an error about no use, no URL passes anyhow.
  if (!asksByUrl(response) || what === undefined) return undefined;
  const policy = gate.policy.current();
  const asks: Asks = 'elicitation-url';
  const decision = decideAsking(policy, where, { asks, during: [what].filter(mayAskFor) });
  const paramsSha256 = sha256(JSON.stringify(response.error?.data ?? null));
  gate.recorder.asked(
    peer,
    { method, requestId, what, policy, session: where.session, paramsSha256 },
    decision,
  );
  return decision.allow ? undefined : decision;
}

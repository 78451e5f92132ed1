/** Answers of a client to questions of its server: what they answer, and whether they pass. */
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import { ensureAnswers } from '@chancery/shared/mcp/asking/asks.ts';
import type { Retry } from '@chancery/shared/mcp/asking/rounds.ts';
import type { Request, Response } from '@chancery/shared/mcp/message.ts';
import type { Call } from '@chancery/shared/policy/call.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { sha256 } from '../../call-event.ts';
import { giveUp, isOpenIn } from '../exchange/asking.ts';
import type { Gate } from '../exchange/gate.ts';
import { decideAsking, mayAskFor, mayBeAsked } from '../judge/asks.ts';
import type { Verdict } from '../judge/judge.ts';
import type { Question } from '../questions.ts';
import type { Ruling } from '../records/fields.ts';
import type { Round, Session } from '../sessions.ts';
import { answersIn } from './inputs.ts';

/**
 * The question that a response answers, in this session and for the first time. Throws mcp_parse if there is none, if
 * the request that it belonged to is over, and for an answer to a question of another kind; then the server is told
 * that no answer comes.
 */
export function questionOf(
  gate: Gate,
  response: Response,
  { session, peer }: { readonly session: Session | undefined; readonly peer: VerifiedSvid },
): Question {
  const question = session?.questions.take(response.id);
  const matches = session !== undefined && question !== undefined;
  ensure(matches, 'mcp_parse', 'the response matches no request of the server');
  const { asks } = question;
  if (asks === undefined) return question;
  try {
    const why = session.questions.whyOver(question, isOpenIn(session));
    ensure(why === undefined, 'mcp_parse', `the response is late: ${why}`);
    ensureAnswers(asks, response);
    return question;
  } catch (error) {
    if (isRefusal(error)) giveUp(gate, { session, peer }, question, error.message);
    throw error;
  }
}

/** A ruling, and what goes to the server by it. */
export interface PassingRuling extends Ruling, Omit<Verdict, 'decision' | 'use'> {
  /** Of a request whose server may ask in its answer. */
  readonly round?: Round | undefined;
}

type Where = Omit<Call, 'what' | 'arguments'>;

/** A client's answer, decided as the question was, by the newest policy. */
export function answering(
  ruling: PassingRuling,
  message: Response,
  { where, question }: { readonly where: Where; readonly question: Question | undefined },
): PassingRuling {
  if (question?.asks === undefined) return ruling;
  const { asks, asked, during } = question;
  const whats = during.map(({ what }) => what).filter(mayAskFor);
  const decision = decideAsking(ruling.policy, where, { asks, during: whats });
  return { ...ruling, decision, question, forwarded: { ...message, id: asked } };
}

/** A request whose server may ask, with the answers that it brings along. Throws mcp_state, mcp_parse. */
export function inRounds(
  gate: Gate,
  ruling: PassingRuling,
  {
    message,
    where,
    retry,
  }: { readonly message: Request; readonly where: Where; readonly retry: Retry | undefined },
): PassingRuling {
  const { policy, use, decision, forwarded } = ruling;
  if (!decision.allow || !mayAskFor(use)) return ruling;
  const { arguments: given, ...what } = use;
  const isAsked = (['sampling', 'elicitation', 'elicitation-url', 'roots'] as const).some((asks) =>
    mayBeAsked(policy, where, { asks, during: what }),
  );
  if (retry === undefined && !isAsked) return ruling;
  const argumentsSha256 = sha256(JSON.stringify(given));
  if (retry === undefined) return { ...ruling, round: { count: 0, argumentsSha256 } };
  const { caller, server } = where;
  const bound = { caller, server, method: message.method, name: use.name, argumentsSha256 };
  const answered = answersIn(gate, retry, { bound, policy, where, what });
  const { denied, inputs, count, complete } = answered;
  if (denied !== undefined) return { ...ruling, decision: denied };
  const passes = forwarded.kind === 'request' ? complete(forwarded) : forwarded;
  return { ...ruling, inputs, forwarded: passes, round: { count, argumentsSha256 } };
}

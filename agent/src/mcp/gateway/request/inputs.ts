/** Answers inside a request of the modern era (2026-07-28, "Multi Round-Trip Requests"). */
import { randomUUID } from 'node:crypto';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Json } from '@chancery/shared/ground/json.ts';
import { type Asks, isAnswerTo } from '@chancery/shared/mcp/asking/asks.ts';
import { type Answers, type Retry, withAnswers } from '@chancery/shared/mcp/asking/rounds.ts';
import type { Request } from '@chancery/shared/mcp/message.ts';
import type { Call, What } from '@chancery/shared/policy/call.ts';
import type { Denied } from '@chancery/shared/policy/decision.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { sha256 } from '../../call-event.ts';
import type { Gate } from '../exchange/gate.ts';
import { decideAsking } from '../judge/asks.ts';
import type { Input } from '../records/fields.ts';
import type { Bound, Opened } from '../states.ts';

/** What the answers of a request come to. */
export interface Answered {
  /** Of an answer that the server may not get. */
  readonly denied: Denied | undefined;
  readonly inputs: readonly Input[];
  /** How many times the server has asked before. */
  readonly count: number;
  /** The request with the answers, and the state of the server. */
  readonly complete: (request: Request) => Request;
}

/** What an answer is of, by the state of the request or, where there is none, by its form. */
interface Given {
  readonly key: string;
  readonly answer: Json;
  readonly kinds: readonly Asks[];
  readonly recordId: string;
}

/**
 * The answers of a request, decided: of a state only those that its server has asked for, and without one each by its
 * form. Throws mcp_state for a state that is not of this request and caller, and mcp_parse for answers of another kind.
 */
export function answersIn(
  { states }: Gate,
  retry: Retry,
  { bound, policy, where, what }: { bound: Bound; policy: Policy; where: Omit<Call, 'what'>; what: What },
): Answered {
  const opened = retry.state === undefined ? undefined : states.open(retry.state, bound);
  const answers = opened === undefined ? byForm(retry.answers) : askedFor(retry.answers, opened);
  const decided = answers.map(({ kinds }) => {
    const decisions = kinds.map((asks) => decideAsking(policy, where, { asks, during: [what] }));
    return decisions.find(({ allow }) => allow) ?? decisions[0];
  });
  const denied = decided.find((each): each is Denied => each?.allow === false);
  const inputs = answers.map(({ key, answer, kinds: [asks = 'roots'], recordId }) => ({
    ...{ key, recordId, method: METHODS[asks] },
    resultSha256: sha256(JSON.stringify(answer)),
  }));
  const kept = answers.map(({ key, answer }) => [key, answer] as const);
  const complete = (request: Request): Request => withAnswers(request, kept, opened?.state);
  return { denied, inputs, count: opened?.count ?? 0, complete };
}

const METHODS: Readonly<Record<Asks, string>> = {
  sampling: 'sampling/createMessage',
  elicitation: 'elicitation/create',
  'elicitation-url': 'elicitation/create',
  roots: 'roots/list',
};

/** What was not asked is left out, as a server should ignore it (2026-07-28, "Error Handling"). Throws mcp_parse. */
function askedFor(answers: Answers, { asked }: Opened): readonly Given[] {
  return answers.flatMap(([key, answer]) => {
    const question = asked.find((each) => each.key === key);
    if (question === undefined) return [];
    ensureForm(isAnswerTo(question.asks, answer), question.asks);
    return [{ key, answer, kinds: [question.asks], recordId: question.recordId }];
  });
}

/** Throws mcp_parse for one that is no answer to any question. */
function byForm(answers: Answers): readonly Given[] {
  return answers.map(([key, answer]) => {
    const asks = (['elicitation', 'sampling', 'roots'] as const).find((each) => isAnswerTo(each, answer));
    ensureForm(asks !== undefined, 'anything');
    const kinds: readonly Asks[] = asks === 'elicitation' ? ['elicitation', 'elicitation-url'] : [asks];
    return { key, answer, kinds, recordId: randomUUID() };
  });
}

function ensureForm(fits: boolean, what: string): asserts fits {
  ensure(fits, 'mcp_parse', `an input response is no answer to a question of the server for ${what}`);
}

/**
 * Decides whether a message passes, by the newest policy, and records it. This takes until the end of the turn, in
 * which all decisions are recorded at once. It then checks everything that may have changed, in the same turn in which
 * the decision is recorded and the message is forwarded. An approval belongs before: nothing may wait inside that turn.
 */
import type { ServerResponse } from 'node:http';
import { ensure, type IdentityError, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Retry } from '@chancery/shared/mcp/asking/rounds.ts';
import type { Era } from '@chancery/shared/mcp/era.ts';
import type { Message, Request } from '@chancery/shared/mcp/message.ts';
import type { Call, What } from '@chancery/shared/policy/call.ts';
import { decideServer } from '@chancery/shared/policy/decide.ts';
import { closed, type Denied } from '@chancery/shared/policy/decision.ts';
import { aboveRate, demandsOn } from '@chancery/shared/policy/rate/demands.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import type { OpenSpan } from '../../spans.ts';
import { denial, writeJson } from '../../wire/answer/reply.ts';
import type { Gate } from '../exchange/gate.ts';
import { ensureEra } from '../judge/era.ts';
import { judge, type Verdict } from '../judge/judge.ts';
import type { Question } from '../questions.ts';
import { named, type Ruling } from '../records/fields.ts';
import {
  addPending,
  ensureNew,
  type Pending,
  type PendingRequest,
  type Session,
  subscribe,
  unsubscribe,
} from '../sessions.ts';
import { holderOf, whoOf, whoseOf } from '../whose.ts';
import { answering, inRounds, type PassingRuling } from './answered.ts';
import type { Begun, Seen } from './inbound.ts';

/** A message that has been read, with its caller. */
export interface Entering extends Pick<Begun, 'ensureStands'> {
  /** Without answers to questions inside it. */
  readonly message: Message;
  readonly retry?: Retry | undefined;
  /** The question of the server that the message answers. */
  readonly question?: Question | undefined;
  readonly era: Era;
  readonly peer: VerifiedSvid;
  readonly res: ServerResponse;
  readonly session: Session | undefined;
  readonly pending: Pending;
  readonly seen: Seen;
  /** The size of its body. */
  readonly bytes: number;
  /** Set if the body was dropped to make room. */
  readonly lost: () => IdentityError | undefined;
  /** Begun when the message was read; undefined without telemetry, and for a client's response. */
  readonly span?: OpenSpan | undefined;
}

/**
 * The message as it goes to the server; undefined if the client has been answered instead. Throws what the sink of
 * records and `judge` throw, and for changes during the wait: mcp_session, mcp_call, mcp_parse, rate, ca_unheard and
 * what `ensureStands` throws.
 */
export async function enter(gate: Gate, entering: Entering): Promise<Message | undefined> {
  const { message, peer, pending, seen, span } = entering;
  let asked: PendingRequest | undefined;
  let forwarded: Message | undefined;
  const decide = (recordId: string): Ruling => {
    ensureUnchanged(gate, entering);
    const {
      forwarded: passing,
      listens,
      subscribes,
      makesTask,
      ofTask,
      ...ruling
    } = rulingOn(gate, entering);
    forwarded = span?.onward(passing) ?? passing;
    if (ruling.decision.allow && message.kind === 'request') {
      asked = { ...askedBy(message, recordId, ruling), span, listens, makesTask, ofTask };
      remember(gate, entering, asked);
      noteSubscription(gate, entering, asked, subscribes);
    }
    return ruling;
  };
  try {
    const { recordId, ruling } = await gate.recorder.decided(peer, message, decide);
    seen.recordId = recordId;
    seen.what = whatOf(ruling);
    seen.session = ruling.session;
    span?.decided({
      record: recordId,
      rule: ruling.decision.rule,
      ...named(ruling.use),
      ...answerOf(ruling),
    });
    if (ruling.decision.allow) {
      // A notification has no answer, so it ends when it is on its way.
      if (asked === undefined) span?.end({});
      return forwarded;
    }
    span?.end({ error: 'denied' });
    deny(entering, { ...ruling, decision: ruling.decision }, recordId);
    return undefined;
  } catch (error) {
    span?.end({ error: refusalOf(error, 'internal', 'the gateway failed').code });
    if (asked !== undefined) pending.delete(asked.requestId);
    throw error;
  }
}

function ensureUnchanged(gate: Gate, entering: Entering): void {
  const { message, session, pending, res, ensureStands, lost } = entering;
  ensureStands();
  const reason = lost();
  if (reason !== undefined) throw reason;
  if (session !== undefined) gate.sessions.ensureOpen(session);
  if (message.kind !== 'request') return;
  gate.ensureHeard();
  ensure(!res.destroyed && res.socket?.destroyed !== true, 'mcp_call', 'the client left before the decision');
  ensureNew(pending, message.id);
}

const NO_URIS: ReadonlySet<string> = new Set();

function rulingOn(
  gate: Gate,
  { message, era, session, bytes, seen, question, retry, ...entering }: Entering,
): PassingRuling {
  const { freeText, server } = gate;
  const peer = holderOf(entering.peer, seen);
  const policy = gate.policy.current();
  ensureEra(policy, server, era);
  const about = { policy, session: session?.id, bytes };
  // Checked again: the body comes after the head, and there may be another policy.
  const entered = decideServer(policy, whoOf(peer), server);
  if (!entered.allow)
    return { ...about, decision: entered, use: undefined, forwarded: message, reaches: false };
  const where = { ...whoseOf(peer, seen), server, now: gate.clock.now(), session: session?.id };
  const held = { uris: session?.subscribed ?? NO_URIS, left: gate.subscriptions.left(peer.id) };
  const situation = { ...where, era, freeText, held, tasks: gate.tasks.of(peer.id) };
  const { decision, ...verdict } = judge(policy, situation, entered, message);
  const ruling = { ...about, ...verdict, decision: closed(decision), reaches: true };
  if (message.kind === 'response') return answering(ruling, message, { where, question });
  const judged =
    era === 'modern' && message.kind === 'request'
      ? inRounds(gate, ruling, { message, where, retry })
      : ruling;
  return withinRates(gate, where, judged);
}

/** Counts an allowed use against its rates. The last step of a decision: what is denied counts against none. */
function withinRates({ counts }: Gate, where: Omit<Call, 'what'>, ruling: PassingRuling): PassingRuling {
  const { decision, use, policy } = ruling;
  if (!decision.allow || use === undefined) return ruling;
  const { arguments: given, ...what } = use;
  const call = { ...where, what, arguments: given };
  const wait = counts.spend(demandsOn(policy, call));
  return wait === undefined ? ruling : { ...ruling, decision: aboveRate(policy, call, wait) };
}

function askedBy(
  { id: requestId, method }: Request,
  recordId: string,
  ruling: Omit<PassingRuling, 'forwarded'>,
): PendingRequest {
  const { round } = ruling;
  return { recordId, requestId, method, what: whatOf(ruling), round, startedMs: performance.now() };
}

function answerOf({ decision }: Pick<Ruling, 'decision'>): {
  readonly decision: 'allowed' | 'observed' | 'denied';
} {
  if (!decision.allow) return { decision: 'denied' };
  return { decision: decision.observed === true ? 'observed' : 'allowed' };
}

/** Without the arguments: the request may be open for hours. */
function whatOf({ use }: Ruling): What | undefined {
  if (use === undefined) return undefined;
  const { arguments: _, ...what } = use;
  return what;
}

function remember(gate: Gate, { peer, pending }: Entering, asked: PendingRequest): void {
  const forgotten = addPending(pending, asked);
  if (forgotten !== undefined)
    gate.recorder.unanswered(peer, forgotten, 'unknown', 'too many requests are open');
}

/** In the turn of the decision, so that requests at the same time cannot pass the bound together. */
function noteSubscription(
  { subscriptions }: Gate,
  { peer, session, res }: Entering,
  { listens, what }: PendingRequest,
  subscribes: Verdict['subscribes'],
): void {
  if (listens !== undefined) res.once('close', subscriptions.take(peer.id, listens.uris.length));
  if (session === undefined || subscribes === undefined || what === undefined) return;
  if (subscribes === 'end') unsubscribe(session, what.name);
  else subscribe(session, what.name, () => subscriptions.take(peer.id, 1));
}

function deny(
  { message, res }: Entering,
  { decision, reaches }: Ruling & { readonly decision: Denied },
  recordId: string,
): void {
  const id = message.kind === 'request' ? message.id : undefined;
  if (!reaches) writeJson(res, 403, denial(id, decision, recordId));
  else if (id !== undefined) writeJson(res, 200, denial(id, decision, recordId));
  // A notification has no answer: 202 says that it arrived, and the record says what was decided.
  else res.writeHead(202, { 'content-length': 0 }).end();
}

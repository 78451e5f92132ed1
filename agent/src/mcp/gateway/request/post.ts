/** POST: reads one message of a client, decides it, records it, and only then forwards it. */
import type { IdentityError } from '@chancery/shared/ground/errors.ts';
import { readRetry } from '@chancery/shared/mcp/asking/rounds.ts';
import { claimedVersion, headersFor, legacyHeaders, readEra } from '@chancery/shared/mcp/era.ts';
import { type Message, type Notification, readMessage } from '@chancery/shared/mcp/message.ts';
import { LISTEN } from '@chancery/shared/mcp/subscription.ts';
import type { OpenSpan } from '../../spans.ts';
import { CANCELLED, cancelledId } from '../../upstream/numbering.ts';
import type { Outbound } from '../../upstream/upstream.ts';
import { ensureJson } from '../../wire/http-body.ts';
import type { Body } from '../bodies.ts';
import { giveUp, refuseQuestion } from '../exchange/asking.ts';
import { Exchange } from '../exchange/exchange.ts';
import type { Gate } from '../exchange/gate.ts';
import { ensureNew, type Pending, type Session } from '../sessions.ts';
import { questionOf } from './answered.ts';
import { type Entering, enter } from './enter.ts';
import { ensureAccepts } from './head.ts';
import { type Asking, sessionOf } from './inbound.ts';
import { listenBy, passOn } from './pass.ts';

/** Throws refusals, which the caller answers and records. */
export async function post(gate: Gate, asking: Asking): Promise<void> {
  const { req, res, peer, head, begin } = asking;
  ensureJson(req);
  ensureAccepts(head, 'application/json');
  ensureAccepts(head, 'text/event-stream');
  // Node leaves 100 Continue to us, so that only callers that may reach the server are asked for the body.
  if (head.expects) res.writeContinue();
  const body = await gate.bodies.hold(req, peer.id, gate.maxRequestBytes);
  let passed = false;
  try {
    begin();
    passed = await decideAndPass(gate, asking, body);
  } finally {
    if (!passed) body.hold.free();
  }
}

/** True if the message goes to the server; then the upstream frees its body. */
async function decideAndPass(gate: Gate, asking: Asking, body: Body): Promise<boolean> {
  const { res, peer, seen } = asking;
  const entering = readEntering(gate, asking, body);
  const { message, era, session, pending } = entering;
  // A call may be open for hours, so its arguments are kept only until the server has taken them.
  const request = message.kind === 'request' ? { ...message, params: undefined } : undefined;
  // Made before the wait: it keeps the session in use, and reserves the place of a new one.
  const back = new Exchange(gate, res, { peer, era, request, session, pending, call: seen });
  const forwarded = await enterOrRefuse(gate, entering);
  if (forwarded === undefined) return false;
  seen.message = request;
  back.enter(body.hold);
  if (message.kind === 'notification') noteCancelled(session, message);
  if (request?.method === LISTEN) {
    const { listens } = pending.get(request.id) ?? {};
    listenBy(gate, back, { peer, seen, session, listens });
  }
  const outbound = outboundOf(asking, entering, forwarded);
  return passOn(back, () => gate.upstream.send(outbound, back));
}

/** As `enter`. The server that waits for an answer is told where none comes. */
async function enterOrRefuse(gate: Gate, entering: Entering): Promise<Message | undefined> {
  const { session, question, peer } = entering;
  const waits = session !== undefined && question?.asks !== undefined;
  try {
    const forwarded = await enter(gate, entering);
    // The denial is on record.
    if (waits && forwarded === undefined)
      refuseQuestion(gate, session, question, 'the answer is not allowed');
    return forwarded;
  } catch (error) {
    if (waits) giveUp(gate, { session, peer }, question, 'the answer was refused');
    throw error;
  }
}

/** Throws mcp_parse and what `readEra` throws; mcp_session, mcp_sessions. */
function readEntering(gate: Gate, asking: Asking, { bytes, hold }: Body): Entering {
  const { res, peer, head, seen, ensureStands } = asking;
  const message = readMessage(bytes, gate.maxRequestBytes);
  seen.message = message;
  const era = readEra(message, head.mcp);
  const session = era === 'legacy' ? sessionOf(gate, asking) : undefined;
  const question = message.kind === 'response' ? questionOf(gate, message, { session, peer }) : undefined;
  const retry = era === 'modern' && message.kind === 'request' ? readRetry(message) : undefined;
  const pending: Pending = session?.pending ?? new Map();
  if (message.kind === 'request') ensureNew(pending, message.id);
  if (message.kind === 'request' && message.method === 'initialize') gate.sessions.ensureRoom(peer.id);
  let reason: IdentityError | undefined;
  hold.onLost((why) => {
    reason = why;
  });
  const span = spanOf(gate, asking, message, session);
  const whose = { peer, res, session, pending, seen, ensureStands, span };
  const about = { message: retry?.request ?? message, retry, question };
  return { ...about, era, ...whose, bytes: bytes.length, lost: () => reason };
}

/** A client's response belongs to a request of the server, which is not traced. */
function spanOf(
  { spans, server }: Gate,
  { peer, head }: Asking,
  message: Message,
  session: Session | undefined,
): OpenSpan | undefined {
  if (message.kind === 'response') return undefined;
  const version = claimedVersion(message) ?? head.mcp.version;
  return spans?.begin({
    server,
    message,
    headers: head.trace,
    caller: peer.id,
    session: session?.id,
    version,
  });
}

function outboundOf({ head, peer }: Asking, { era, session, span }: Entering, message: Message): Outbound {
  const own = era === 'modern' ? { ...headersFor(message), ...head.params } : legacyHeaders(head.mcp.version);
  return { caller: peer.id, era, message, session: session?.upstream, headers: { ...own, ...span?.headers } };
}

/** Notes a cancelled request: what the server still sends for it is no answer (2025-11-25, "Cancellation"). */
function noteCancelled(session: Session | undefined, message: Notification): void {
  const id = message.method === CANCELLED ? cancelledId(message) : undefined;
  const asked = id === undefined ? undefined : session?.pending.get(id);
  if (asked !== undefined) asked.cancelled = true;
}

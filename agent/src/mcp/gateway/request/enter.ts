/** Whether a message passes: decided by the newest policy and recorded. */
import type { ServerResponse } from 'node:http';
import type { Era } from '@chancery/shared/mcp/era.ts';
import type { Message } from '@chancery/shared/mcp/message.ts';
import { decideServer } from '@chancery/shared/policy/decide.ts';
import { closed } from '@chancery/shared/policy/decision.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { denial, writeJson } from '../../wire/reply.ts';
import type { Gate } from '../exchange/gate.ts';
import { judge } from '../judge.ts';
import { addPending, type Pending, type Session } from '../sessions.ts';
import type { Seen } from './inbound.ts';

/** A message that has been read, and whose it is. */
export interface Entering {
  readonly message: Message;
  readonly era: Era;
  readonly peer: VerifiedSvid;
  readonly res: ServerResponse;
  readonly session: Session | undefined;
  readonly pending: Pending;
  readonly seen: Seen;
  /** Of its body. */
  readonly bytes: number;
}

/** True lets the message pass; else the client has its answer. Throws what the sink of the records throws. */
export function enter(gate: Gate, entering: Entering): boolean {
  const { message, era, peer, res, session, pending, seen, bytes } = entering;
  const policy = gate.policy.current();
  // Again: the body comes later than the head, and there may be another policy.
  const entered = decideServer(policy, peer.id, gate.server);
  const who = { caller: peer.id, server: gate.server };
  const situation = { ...who, now: gate.clock.now(), session: session?.id, era, freeText: gate.freeText };
  const verdict = entered.allow
    ? judge(policy, situation, entered, message)
    : { decision: entered, use: undefined };
  const { use } = verdict;
  const decision = closed(verdict.decision);
  const about = { policy, session: session?.id, bytes };
  const recordId = gate.recorder.decided(peer, message, { decision, use }, about);
  seen.recordId = recordId;
  seen.tool = use?.tool;
  const id = message.kind === 'request' ? message.id : undefined;
  if (decision.allow) {
    if (message.kind !== 'request') return true;
    const { method } = message;
    const asked = { recordId, requestId: message.id, method, tool: use?.tool, startedMs: performance.now() };
    const forgotten = addPending(pending, asked);
    if (forgotten !== undefined)
      gate.recorder.unanswered(peer, forgotten, 'unknown', 'too many requests are open');
    return true;
  }
  if (!entered.allow) writeJson(res, 403, denial(id, decision, recordId));
  else if (id !== undefined) writeJson(res, 200, denial(id, decision, recordId));
  // A notification has no answer; 202 says that it came, and the record says what became of it.
  else res.writeHead(202, { 'content-length': 0 }).end();
  return false;
}

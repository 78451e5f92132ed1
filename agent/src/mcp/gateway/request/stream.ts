/** GET and DELETE, which only the legacy era has. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { ensureLegacyVersion, legacyHeaders } from '@chancery/shared/mcp/era.ts';
import { isEventId } from '@chancery/shared/mcp/sse.ts';
import { decideServer } from '@chancery/shared/policy/decide.ts';
import type { Outbound } from '../../upstream/upstream.ts';
import { Exchange } from '../exchange/exchange.ts';
import type { Gate } from '../exchange/gate.ts';
import type { Session } from '../sessions.ts';
import { whoOf } from '../whose.ts';
import { ensureAccepts, type Head } from './head.ts';
import { type Asking, sessionOf } from './inbound.ts';
import { listenBy, passOn } from './pass.ts';

/** Answers GET with the server's stream; DELETE ends the session. Throws refusals before the server is asked. */
export function stream(gate: Gate, asking: Asking): void {
  const { res, peer, head, seen } = asking;
  const { version } = head.mcp;
  ensureLegacyVersion(version);
  const session = sessionOf(gate, asking);
  const policy = gate.policy.current();
  const entered = decideServer(policy, whoOf(peer), gate.server);
  const about = { policy, session: session?.id };
  seen.recordId = gate.recorder.decidedByHead(peer, head.method, entered, about);
  const facts = { peer, era: 'legacy' as const, request: undefined, session, call: seen };
  const back = new Exchange(gate, res, { ...facts, pending: session?.pending ?? new Map() });
  const outbound: Outbound = {
    caller: peer.id,
    era: 'legacy',
    message: undefined,
    session: session?.upstream,
    headers: legacyHeaders(version),
  };
  if (head.method === 'DELETE') {
    if (session !== undefined) gate.sessions.close(session, 'its client ended it');
    passOn(back, () => gate.upstream.end(outbound, back));
    return;
  }
  ensureAccepts(head, 'text/event-stream');
  const headers = { ...outbound.headers, ...placeOf(head, session) };
  listenBy(gate, back, { peer, seen, session });
  if (session !== undefined) endWith(session, back);
  passOn(back, () => gate.upstream.listen({ ...outbound, headers }, back));
}

/** Throws mcp_session, mcp_parse. */
function placeOf({ lastEventId: id }: Head, session: Session | undefined): Record<string, string> {
  if (id === undefined) return {};
  // An event id without its session would let one caller read another's events.
  ensure(session !== undefined, 'mcp_session', 'Last-Event-ID without a session');
  const isOurs = isEventId(Buffer.from(id, 'latin1').toString('utf8'));
  ensure(isOurs, 'mcp_parse', 'Last-Event-ID is not an event id of this gateway');
  return { 'last-event-id': id };
}

/** Ends the stream with its session: a client that still listens there would miss the next session. */
function endWith(session: Session, back: Exchange): void {
  const end = (): void => {
    back.open();
    back.end();
  };
  session.streams.add(end);
  back.onClose(() => session.streams.delete(end));
}

/** A caller's request, and what is known of it while it is open. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Message } from '@chancery/shared/mcp/message.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import type { Gate } from '../exchange/gate.ts';
import type { OpenCall } from '../open-call.ts';
import type { Session } from '../sessions.ts';
import type { Head } from './head.ts';

export interface Inbound {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly peer: VerifiedSvid;
}

export interface Begun extends Inbound {
  /** Called once the request is whole: from then on it is open, and its connection is owed an answer. */
  readonly begin: () => void;
}

/** One for the MCP endpoint. */
export interface Asking extends Begun {
  readonly head: Head;
  readonly seen: Seen;
}

/** What a failure should say of the message it belongs to, and what a claim needs to know of the call. */
export interface Seen extends OpenCall {
  message: Message | undefined;
}

/** Undefined where the request names none. Throws mcp_session. */
export function sessionOf(gate: Gate, { head, peer }: Asking): Session | undefined {
  return head.session === undefined ? undefined : gate.sessions.find(head.session, peer.id);
}

/** A caller's request, with what is known of it while it is open. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Message } from '@chancery/shared/mcp/message.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import type { Gate } from '../exchange/gate.ts';
import type { OpenCall } from '../peers/open-call.ts';
import type { Peers } from '../peers/peers.ts';
import { sourceOf } from '../peers/places.ts';
import type { Session } from '../sessions.ts';
import type { Head } from './head.ts';

export interface Inbound {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly peer: VerifiedSvid;
}

export interface Begun extends Inbound {
  /** Called once the request is complete: from then on it is open, and needs an answer. */
  readonly begin: () => void;
  /** Throws if the connection, or the certificate that holds it, has ended since. */
  readonly ensureStands: () => void;
}

/** A request to the MCP endpoint. */
export interface Asking extends Begun {
  readonly head: Head;
  readonly seen: Seen;
}

/** What was read of a request: failures name it, and claims need it. */
export interface Seen extends OpenCall {
  message: Message | undefined;
}

/** Of a request on this connection, before anything of it is read. */
export const nothingSeen = (socket: Socket): Seen => ({
  ...{ message: undefined, server: undefined, recordId: undefined, what: undefined, session: undefined },
  source: sourceOf(socket),
});

/** Ties the request to its connection, whose certificate may end or be replaced while the request is open. */
export function begunBy(peers: Peers, inbound: Inbound, seen: Seen): Begun {
  const { req, res } = inbound;
  const socket = (): TLSSocket => {
    ensure(req.socket instanceof TLSSocket, 'no_peer', 'a request without TLS');
    return req.socket;
  };
  return {
    ...inbound,
    begin() {
      const ended = peers.begin(socket(), seen);
      if (res.closed) ended();
      else res.once('close', ended);
    },
    ensureStands() {
      ensure(seen.cut === undefined, 'mcp_call', `the connection was cut: ${seen.cut}`);
      peers.ensureStands(socket());
    },
  };
}

/** Undefined if the request names no session. Throws mcp_session. */
export function sessionOf(gate: Gate, { head, peer }: Asking): Session | undefined {
  return head.session === undefined ? undefined : gate.sessions.find(head.session, peer);
}

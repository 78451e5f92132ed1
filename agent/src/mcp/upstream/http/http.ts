/** An MCP server that speaks Streamable HTTP, at a URL or on a unix socket. Redirects are not followed. */
import http, { type ClientRequest } from 'node:http';
import https from 'node:https';
import { TLSSocket } from 'node:tls';
import type { Log } from '@chancery/shared/ground/log.ts';
import { writeMessage } from '@chancery/shared/mcp/message.ts';
import { onOutcome } from '../../wire/answer/outcome.ts';
import { skippedLog } from '../../wire/skipped.ts';
import { noticeLoss } from '../../wire/tcp.ts';
import { CANCELLED } from '../numbering.ts';
import { type Back, badAnswer, type Outbound, type Upstream, unreachable } from '../upstream.ts';
import { askingOf, receive } from './answer.ts';
import { connectionsTo, type HttpTarget, hostOf } from './connections.ts';

/** Bounds the gateway's memory, not the server's. */
const MAX_SESSIONS = 5_000;
/** Small enough for the kernel to take all of it or nothing. */
const ONE_PIECE = 16 * 1024;
const LINGER_MS = 1_000;
const ACCEPT = 'application/json, text/event-stream';

/** Connects when a request is sent. Sends it again only if no byte can have arrived. The caller closes it. */
export function httpUpstream(target: HttpTarget, log: Log): Upstream {
  const { request, agent } = dialler(target);
  const logs = { skip: skippedLog(log, 'the MCP server'), onRedirect: redirectLog(log) };
  const ask = (method: string, outbound: Outbound, text: string | undefined, back: Back): void => {
    const headers = [...headersOf(outbound, text), ...Object.entries(outbound.headers).flat()];
    const asking = { ...askingOf(outbound), method, back, ...logs };
    const again = Buffer.byteLength(text ?? '') < ONE_PIECE;
    // Dropped once it is sent, since it is never sent again after that: the server may take hours to answer.
    let body: { readonly text: string | undefined } | undefined = { text };
    let outgoing: ClientRequest | undefined;
    let left = false;
    const send = (fresh: boolean): void => {
      const sent = request(method, headers, fresh);
      outgoing = sent;
      const wasReached = reaching(sent);
      const onError = (error: Error): void => {
        if (!fresh && !left && body !== undefined && wasNotSent(sent, error)) send(true);
        else back.fail(wasReached() ? badAnswer(error) : unreachable(error));
      };
      onOutcome(sent, { onResponse: (response) => receive(response, asking), onError });
      const over = (): void => {
        if (outgoing !== sent) return;
        body = undefined;
        back.sent();
      };
      sent.once('finish', over).once('close', over);
      sent.end(body?.text);
      if (!again) body = undefined;
    };
    back.onClose(() => {
      left = true;
      if (outgoing !== undefined) back.answered ? linger(outgoing) : outgoing.destroy();
    });
    afterPoll(agent, () => (left ? back.sent() : send(false)));
  };
  const quietly = (method: string, session: string, body?: string): void => {
    const outgoing = request(method, headersOf({ session }, body), false);
    outgoing.on('response', (response) => response.resume());
    outgoing.on('error', (error) => log.warn({ err: error }, `the MCP server did not take a ${method}`));
    outgoing.end(body);
  };
  return {
    maxSessions: MAX_SESSIONS,
    send(outbound, back) {
      const { message, era } = outbound;
      // Not forwarded: its id is the client's own, and other clients use the same id, so it would cancel their
      // requests. Over HTTP a client cancels by closing its request (2026-07-28), which `back.onClose` passes on.
      const cancels = era === 'modern' && message?.kind === 'notification' && message.method === CANCELLED;
      if (cancels) {
        back.sent();
        back.answer(202, undefined);
      } else ask('POST', outbound, bodyOf(outbound), back);
    },
    listen: (outbound, back) => ask('GET', outbound, undefined, back),
    end: (outbound, back) => ask('DELETE', outbound, undefined, back),
    refuse(session, answer) {
      if (session !== undefined) quietly('POST', session, writeMessage(answer));
    },
    forget: (session) => quietly('DELETE', session),
    // Over HTTP, a server says in its next answer that a session has ended.
    onSessionEnd: () => {},
    async close() {
      agent.destroy();
    },
  };
}

/** Warns once: the operator's own server answers each request alike. */
function redirectLog(log: Log): (location: string | undefined) => void {
  let warned = false;
  return (location = '') => {
    const says =
      'the MCP server redirects, which is not followed: set gateway.upstream.url to the final address';
    log[warned ? 'debug' : 'warn']({ location: location.slice(0, MAX_LOCATION) }, says);
    warned = true;
  };
}
const MAX_LOCATION = 256;

/**
 * The server may have closed an idle connection a moment ago. So this waits until Node has handled all network events
 * that have arrived, before it chooses a connection.
 */
function afterPoll(agent: http.Agent, go: () => void): void {
  const idle = Object.values(agent.freeSockets).some((sockets) => (sockets?.length ?? 0) > 0);
  // The first callback may still run in this turn of the event loop.
  if (idle) setImmediate(() => setImmediate(go));
  else go();
}

/** Whether a request got a connection, after the TLS handshake if there is one. */
function reaching(sent: ClientRequest): () => boolean {
  let reached = false;
  sent.once('socket', (socket) => {
    reached = !socket.connecting;
    if (reached) return;
    socket.once(socket instanceof TLSSocket ? 'secureConnect' : 'connect', () => {
      reached = true;
    });
  });
  return () => reached;
}

/** True only if the kernel took no byte of it: a server that has read some may have acted on it. */
function wasNotSent(sent: ClientRequest, error: Error): boolean {
  const closed = 'code' in error && error.code === 'EPIPE' && 'syscall' in error && error.syscall === 'write';
  return sent.reusedSocket && closed;
}

/** Lets an answered request end by itself, which keeps its connection. */
function linger(outgoing: ClientRequest): void {
  if (outgoing.closed) return;
  const timer = setTimeout(() => outgoing.destroy(), LINGER_MS);
  outgoing.once('close', () => clearTimeout(timer));
}

function bodyOf({ message }: Outbound): string | undefined {
  return message === undefined ? undefined : writeMessage(message);
}

function dialler(target: HttpTarget) {
  const tls = target.kind === 'url' && target.url.protocol === 'https:';
  const { agent, forOne } = connectionsTo(target);
  const where =
    target.kind === 'unix'
      ? { socketPath: target.path, path: target.endpoint }
      : { host: hostOf(target.url), port: target.url.port, path: target.url.pathname + target.url.search };
  const host = target.kind === 'unix' ? 'localhost' : target.url.host;
  const { request } = tls ? https : http;
  return {
    agent,
    /** Node writes a list of headers as it is; it would copy and check an object name by name. */
    request: (method: string, headers: readonly string[], fresh: boolean): ClientRequest =>
      request({
        ...where,
        method,
        headers: ['host', host, ...headers],
        agent: fresh ? forOne() : agent,
      }).once('socket', (socket) => noticeLoss(socket)),
  };
}

function headersOf(
  { session }: { readonly session: string | undefined },
  body: string | undefined,
): string[] {
  const headers = ['accept', ACCEPT, 'accept-encoding', 'identity'];
  if (session !== undefined) headers.push('mcp-session-id', session);
  if (body !== undefined)
    headers.push('content-type', 'application/json', 'content-length', String(Buffer.byteLength(body)));
  return headers;
}

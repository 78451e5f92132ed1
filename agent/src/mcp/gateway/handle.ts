/** One HTTP request at the gateway: read, decided, recorded, and only then passed on. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ensure, refusalOf } from '@chancery/shared/ground/errors.ts';
import {
  claimedVersion,
  type Era,
  ensureLegacyVersion,
  ensureModern,
  eraOf,
  headersFor,
  MODERN_VERSIONS,
} from '@chancery/shared/mcp/era.ts';
import { type Message, type Notification, readMessage } from '@chancery/shared/mcp/message.ts';
import { isEventId } from '@chancery/shared/mcp/sse.ts';
import { LISTEN } from '@chancery/shared/mcp/subscription.ts';
import { narrowClient } from '@chancery/shared/mcp/tools.ts';
import { decideServer } from '@chancery/shared/policy/decide.ts';
import { closed } from '@chancery/shared/policy/decision.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { CANCELLED, cancelledId } from '../upstream/numbering.ts';
import type { Outbound } from '../upstream/upstream.ts';
import { ensureJson, header } from '../wire/http-body.ts';
import { denial, writeJson } from '../wire/reply.ts';
import type { Body } from './bodies.ts';
import { Exchange } from './exchange/exchange.ts';
import type { Gate } from './exchange/gate.ts';
import { ensureKnown, judge } from './judge.ts';
import type { OpenCall } from './open-call.ts';
import { addPending, ensureNew, type Pending, type Session } from './sessions.ts';

/** The one path, so that a proxy in front and this server cannot read it differently. */
const ENDPOINT = '/mcp';

/** What a failure should say of the message it belongs to, and what a claim needs to know of the call. */
export interface Seen extends OpenCall {
  message: Message | undefined;
}

/** Throws what the caller answers and records. */
export async function handle(gate: Gate, inbound: Begun, seen: Seen): Promise<void> {
  const { req } = inbound;
  ensure(req.url === ENDPOINT, 'server_unknown', 'another path than the endpoint');
  if (!letIn(gate, inbound)) return;
  if (req.method === 'POST') return post(gate, inbound, seen);
  const version = header(req, 'mcp-protocol-version');
  ensure(req.method === 'GET' || req.method === 'DELETE', 'mcp_method', 'neither POST nor GET nor DELETE');
  ensure(version === undefined || version < '2026-07-28', 'mcp_method', 'a modern client only posts');
  // Nothing is made of a body, but a request has ended only when its body has.
  await gate.bodies.read(req, inbound.peer.id, MAX_SKIPPED_BYTES);
  inbound.begin();
  stream(gate, inbound, seen);
}

interface Inbound {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly peer: VerifiedSvid;
}

interface Begun extends Inbound {
  /** Called once the request is whole: from then on it is open, and its connection is owed an answer. */
  readonly begin: () => void;
}

/** Tier 1, by the head of the request: of a caller that no rule lets in, no body is read. */
export function letIn(gate: Gate, { req, res, peer }: Inbound): boolean {
  const policy = gate.policy.current();
  const entered = decideServer(policy, peer.id, gate.server);
  if (entered.allow) return true;
  const recordId = gate.recorder.decidedByHead(peer, String(req.method), entered, {
    policy,
    session: undefined,
  });
  // Node skips a body that nobody reads; a long one is not worth the wait.
  if (!(Number(req.headers['content-length'] ?? 0) <= MAX_SKIPPED_BYTES) || isChunked(req))
    res.setHeader('connection', 'close');
  writeJson(res, 403, denial(undefined, entered, recordId));
  return false;
}

const MAX_SKIPPED_BYTES = 64 * 1024;

function isChunked(req: IncomingMessage): boolean {
  return req.headers['transfer-encoding'] !== undefined;
}

async function post(gate: Gate, { req, res, peer, begin }: Begun, seen: Seen): Promise<void> {
  ensureJson(req);
  ensureAccepts(req, 'application/json');
  ensureAccepts(req, 'text/event-stream');
  // The server leaves this to us, so that only those who may enter are asked for their body.
  if (req.headers.expect !== undefined) res.writeContinue();
  const body = await gate.bodies.hold(req, peer.id, gate.maxRequestBytes);
  let passed = false;
  try {
    begin();
    passed = decideAndPass(gate, { req, res, peer }, body, seen);
  } finally {
    if (!passed) body.hold.free();
  }
}

/** True where the message goes to the server, which frees its body. */
function decideAndPass(gate: Gate, { req, res, peer }: Inbound, body: Body, seen: Seen): boolean {
  const message = readMessage(body.bytes, gate.maxRequestBytes);
  seen.message = message;
  const version = header(req, 'mcp-protocol-version');
  const era = eraOf(message, version);
  const named = { version, method: header(req, 'mcp-method'), name: header(req, 'mcp-name') };
  if (MODERN_VERSIONS.includes(claimedVersion(message) ?? version ?? '')) ensureKnown(message);
  if (era === 'modern') ensureModern(message, named);
  else ensureLegacyVersion(version);
  const session = era === 'legacy' ? sessionOf(gate, req, peer) : undefined;
  if (message.kind === 'response') ensureAsked(session, message);

  const pending: Pending = session?.pending ?? new Map();
  const about = { bytes: body.bytes.length, session: session?.id };
  if (message.kind === 'request') ensureNew(pending, message.id);
  if (message.kind === 'request' && message.method === 'initialize') gate.sessions.ensureRoom(peer.id);
  if (!enter(gate, { message, era, peer, res, pending, seen }, about)) return false;
  if (message.kind === 'notification') noteCancelled(session, message);
  // A call may be open for hours: from here on nothing of its arguments is kept but on their way to the server.
  const request = message.kind === 'request' ? { ...message, params: undefined } : undefined;
  seen.message = request;
  const back = new Exchange(gate, res, { peer, era, request, session, pending, hold: body.hold, call: seen });
  if (request?.method === LISTEN) listenBy(gate, back, { peer, session });
  const headers =
    era === 'modern' ? { ...headersFor(message), ...paramHeaders(req) } : versionHeader(version);
  const forwarded = message.kind === 'request' ? narrowClient(message) : message;
  const outbound = { caller: peer.id, era, message: forwarded, session: session?.upstream, headers };
  try {
    gate.upstream.send(outbound, back);
    return true;
  } catch (error) {
    back.fail(refusalOf(error, 'internal', 'the message could not be passed on'));
    return false;
  }
}

interface Listening extends Pick<Inbound, 'peer'> {
  readonly session: Session | undefined;
}

function listenBy(gate: Gate, back: Exchange, { peer, session }: Listening): void {
  const hearer = { caller: peer.id, session };
  const stop = gate.listeners.add(hearer, gate.policy.current(), (told) => back.tell(told));
  back.onClose(stop);
}

/** What the server then makes of the request is no answer (2025-11-25, "Cancellation"). */
function noteCancelled(session: Session | undefined, message: Notification): void {
  const id = message.method === CANCELLED ? cancelledId(message) : undefined;
  const asked = id === undefined ? undefined : session?.pending.get(id);
  if (asked !== undefined) asked.cancelled = true;
}

/** A client that listens in a session that is over would hear nothing of its next one. */
function endWith(session: Session, back: Exchange): void {
  const end = (): void => {
    back.open();
    back.end();
  };
  session.streams.add(end);
  back.onClose(() => session.streams.delete(end));
}

/** From here on the exchange answers, whatever goes wrong, for it knows what waits for an answer. */
function passOn(back: Exchange, send: () => void): void {
  try {
    send();
  } catch (error) {
    back.fail(refusalOf(error, 'internal', 'the message could not be passed on'));
  }
}

/** GET and DELETE, which only the legacy era has. */
function stream(gate: Gate, { req, res, peer }: Inbound, seen: Seen): void {
  const version = header(req, 'mcp-protocol-version');
  ensureLegacyVersion(version);
  const session = sessionOf(gate, req, peer);
  const policy = gate.policy.current();
  const entered = decideServer(policy, peer.id, gate.server);
  seen.recordId = gate.recorder.decidedByHead(peer, String(req.method), entered, {
    policy,
    session: session?.id,
  });
  const facts = { peer, era: 'legacy' as const, request: undefined, session, call: seen };
  const back = new Exchange(gate, res, { ...facts, pending: session?.pending ?? new Map() });
  const outbound: Outbound = {
    caller: peer.id,
    era: 'legacy',
    message: undefined,
    session: session?.upstream,
    headers: versionHeader(version),
  };
  if (req.method === 'DELETE') {
    if (session !== undefined) gate.sessions.close(session, 'its client ended it');
    passOn(back, () => gate.upstream.end(outbound, back));
    return;
  }
  ensureAccepts(req, 'text/event-stream');
  const resumed = header(req, 'last-event-id');
  // An event's id alone would let one caller read what another was told.
  ensure(resumed === undefined || session !== undefined, 'mcp_session', 'Last-Event-ID without a session');
  ensure(
    resumed === undefined || isEventId(Buffer.from(resumed, 'latin1').toString('utf8')),
    'mcp_parse',
    'Last-Event-ID is not an event id of this gateway',
  );
  const place: Record<string, string> = resumed === undefined ? {} : { 'last-event-id': resumed };
  listenBy(gate, back, { peer, session });
  if (session !== undefined) endWith(session, back);
  passOn(back, () => gate.upstream.listen({ ...outbound, headers: { ...outbound.headers, ...place } }, back));
}

/** Decides and records. True lets the message pass; else the client has its answer. */
function enter(
  gate: Gate,
  {
    message,
    era,
    peer,
    res,
    pending,
    seen,
  }: { message: Message; era: Era; peer: VerifiedSvid; res: ServerResponse; pending: Pending; seen: Seen },
  about: { bytes: number; session: string | undefined },
): boolean {
  const policy = gate.policy.current();
  // Again: the body comes later than the head, and there may be another policy.
  const entered = decideServer(policy, peer.id, gate.server);
  const situation = {
    caller: peer.id,
    server: gate.server,
    now: gate.clock.now(),
    session: about.session,
  };
  const verdict = entered.allow
    ? judge(policy, { ...situation, era, freeText: gate.freeText }, entered, message)
    : { decision: entered, use: undefined };
  const { use } = verdict;
  const decision = closed(verdict.decision);
  const recordId = gate.recorder.decided(peer, message, { decision, use }, { policy, ...about });
  seen.recordId = recordId;
  seen.tool = use?.tool;
  if (decision.allow) {
    const { method, id } = message.kind === 'request' ? message : { method: '', id: undefined };
    if (id === undefined) return true;
    const startedMs = performance.now();
    const forgotten = addPending(pending, { recordId, requestId: id, method, tool: use?.tool, startedMs });
    if (forgotten !== undefined)
      gate.recorder.unanswered(peer, forgotten, 'unknown', 'too many requests are open');
    return true;
  }
  const id = message.kind === 'request' ? message.id : undefined;
  if (!entered.allow) writeJson(res, 403, denial(id, decision, recordId));
  else if (id !== undefined) writeJson(res, 200, denial(id, decision, recordId));
  // A notification has no answer; 202 says that it came, and the record says what became of it.
  else res.writeHead(202, { 'content-length': 0 }).end();
  return false;
}

function sessionOf(gate: Gate, req: IncomingMessage, peer: VerifiedSvid): Session | undefined {
  const id = header(req, 'mcp-session-id');
  return id === undefined ? undefined : gate.sessions.find(id, peer.id);
}

/** Throws mcp_parse. A client answers what its server asked in this session, once, and nothing else. */
function ensureAsked(
  session: Session | undefined,
  { id }: { readonly id: string | number | undefined },
): void {
  const was = session !== undefined && id !== undefined && session.asked.delete(id);
  ensure(was, 'mcp_parse', 'the response matches no request of the server');
}

function ensureAccepts(req: IncomingMessage, type: string): void {
  ensure(
    (header(req, 'accept') ?? '').toLowerCase().includes(type),
    'mcp_accept',
    `Accept does not list ${type}`,
  );
}

function versionHeader(version: string | undefined): Record<string, string> {
  return version === undefined ? {} : { 'mcp-protocol-version': version };
}

/** The only headers of a client's that travel on: the server compares them with the arguments (2026-07-28). */
function paramHeaders(req: IncomingMessage): Record<string, string> {
  const chosen: Record<string, string> = {};
  for (const name in req.headers) if (name.startsWith('mcp-param-')) chosen[name] = header(req, name) ?? '';
  return chosen;
}

/**
 * The gateway: mutual TLS in front of an MCP server, which needs no change. It decides each request by the newest
 * policy, records it, and forwards what it read, written anew. It filters, records and rewrites each answer.
 *
 * It does not translate between eras. A modern client of a legacy server gets that server's own answer to
 * `server/discover`, and falls back as it would without a gateway.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { ConnectionSettings, Connections } from '@chancery/shared/door/connections.ts';
import { deferAccept } from '@chancery/shared/door/defer-accept.ts';
import { BACKLOG, HANDSHAKE_MS } from '@chancery/shared/door/first-byte.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import { claimedVersion } from '@chancery/shared/mcp/era.ts';
import type { FreeText } from '@chancery/shared/mcp/results.ts';
import { decideServer } from '@chancery/shared/policy/decide.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { cannotListen } from '@chancery/shared/text/listening.ts';
import { serverTls } from '@chancery/shared/tls/options.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import type { RecordCall } from './call-event.ts';
import { type Gate, type HeldLimits, heldBy } from './gateway/exchange/gate.ts';
import { recordHttpFailures } from './gateway/http-failures.ts';
import { versionsOf } from './gateway/judge/era.ts';
import { Listeners } from './gateway/listeners.ts';
import { Peers, type PeersOptions, type Successions } from './gateway/peers/peers.ts';
import { addressOf, placesOf } from './gateway/peers/places.ts';
import { CallRecorder } from './gateway/records/record.ts';
import { allowsBy, claimCalls, termsOf } from './gateway/request/claim-calls.ts';
import { handle } from './gateway/request/handle.ts';
import { begunBy, nothingSeen, type Seen } from './gateway/request/inbound.ts';
import { type Session, type SessionLimits, Sessions } from './gateway/sessions.ts';
import { httpUpstream } from './upstream/http/http.ts';
import { commandUpstream } from './upstream/stdio/command.ts';
import { MAX_REQUEST_BYTES, type Upstream, type UpstreamTarget } from './upstream/upstream.ts';
import { reasonOf } from './wire/answer/reason.ts';
import { refuse } from './wire/answer/reply.ts';
import { CLAIMS } from './wire/claims.ts';
import { header } from './wire/http-body.ts';
import { noticeLoss } from './wire/tcp.ts';

export interface GatewayOptions extends HeldLimits {
  readonly listen: { readonly host: string; readonly port: number };
  /** The McpServer resource's name. */
  readonly server: string;
  readonly upstream: UpstreamTarget;
  readonly svid: Source<Svid>;
  readonly bundle: Source<Bundle>;
  readonly policy: Source<Policy>;
  readonly revocations: Source<RevocationSet>;
  readonly clock: Clock;
  readonly log: Log;
  readonly record: RecordCall;
  /**
   * By default as many sessions as the upstream can hold, at most half of them for one caller, idle for at most an
   * hour.
   */
  readonly sessions?: Partial<SessionLimits>;
  readonly successions: Successions;
  /** How long a call may last if it outlives its certificate; by default a day. */
  readonly maxCallSeconds?: number | undefined;
  /** The largest message of a client; by default 16 MiB. */
  readonly maxRequestBytes?: number | undefined;
  /** Throws ca_unheard where a new call must not be admitted; by default never. */
  readonly ensureHeard?: (() => void) | undefined;
  /** By default all kinds of free text pass. */
  readonly freeText?: FreeText;
  /** By default what the limit of open files allows. */
  readonly connections?: Partial<ConnectionSettings>;
}

export interface Gateway {
  readonly port: number;
  /** Ends all connections. Resolves when no connection and no child process is left. */
  close(): Promise<void>;
}

/** Longer than `connect` keeps an idle connection, so that the gateway never closes one under a request. */
const KEEP_ALIVE_MS = 10 * 60_000;
/** Requests are small: a caller that takes longer to send one holds a place for nothing. */
const REQUEST_MS = 30_000;
const MAX_CALL_SECONDS = 86_400;
const FREE_TEXT: FreeText = { instructions: true, logs: true };

/** Throws what the sources throw while they have no value yet. Rejects if it cannot listen. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { svid, bundle, policy, revocations, clock } = options;
  const { maxRequestBytes = MAX_REQUEST_BYTES } = options;
  const connections = placesOf(options);
  const recorder = new CallRecorder(options);
  const upstream = upstreamOf(options);
  const listeners = new Listeners(options.server);
  const sessions = sessionsOf(options, upstream, recorder, listeners);
  const gate: Gate = {
    server: options.server,
    policy,
    clock,
    recorder,
    sessions,
    upstream,
    freeText: options.freeText ?? FREE_TEXT,
    maxRequestBytes,
    ...heldBy(options, maxRequestBytes),
    listeners,
    ensureHeard: options.ensureHeard ?? (() => {}),
  };
  const peers = peersOf(options, recorder, connections);
  const server = serverOf(options, gate, peers);
  connections.guard(server, { firstByteMs: HANDSHAKE_MS });
  const stops = [
    // Open connections keep the certificate of their handshake; new ones get the new certificate.
    svid.onChange((next) => server.setSecureContext(tlsOf(next))),
    bundle.onChange(() => peers.verifyAgain()),
    options.successions.onChange(() => claimAgain(options, gate, peers)),
    revocations.onChange((set) => {
      peers.cutRevoked();
      sessions.end(
        ({ caller: id, serial }) => set.revoked({ id, serial }, clock.now()) !== undefined,
        'its caller is revoked',
      );
    }),
    policy.onChange((next) => {
      peers.judgeAgain(allowsBy(next, options.server, clock.now()));
      listeners.policyChanged(next);
      const isOut = ({ caller }: Session): boolean => !decideServer(next, caller, options.server).allow;
      sessions.end(isOut, 'no rule lets its caller in any more');
    }),
  ];
  const port = await listen(server, options.listen);
  return {
    port,
    async close() {
      for (const stop of stops) stop();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      peers.cutAll();
      sessions.stop();
      await Promise.all([closed, upstream.close()]);
      recorder.close();
    },
  };
}

function upstreamOf({ upstream: target, log, sessions, clock }: GatewayOptions): Upstream {
  return target.kind === 'command'
    ? commandUpstream(target, log, sessions?.max, clock)
    : httpUpstream(target, log);
}

function peersOf(options: GatewayOptions, recorder: CallRecorder, connections: Connections): Peers {
  const { log, maxCallSeconds = MAX_CALL_SECONDS } = options;
  const onRefused: PeersOptions['onRefused'] = (error, peer, address) => {
    const inFull = recorder.refused(peer ?? { address }, error);
    if (inFull && error.code === 'revoked_peer')
      log.warn({ detail: error.message, serial: peer?.serial }, 'cut off');
  };
  return new Peers({ ...options, maxCallSeconds, connections, onRefused });
}

function claimAgain({ log }: GatewayOptions, gate: Gate, peers: Peers): void {
  const judged = peers.claimAgain(() => termsOf(gate));
  judged.catch((error: unknown) => log.error({ err: error }, 'claims could not be judged again'));
}

function serverOf({ svid, log }: GatewayOptions, gate: Gate, peers: Peers): Server {
  const { recorder } = gate;
  const onRequest = (req: IncomingMessage, res: ServerResponse): void =>
    void answer(gate, peers, { req, res, log });
  const tls = { ...tlsOf(svid.current()), handshakeTimeout: HANDSHAKE_MS };
  const server = createServer(tls, onRequest);
  recordHttpFailures(server, {
    onRequest,
    onRefused: (socket, error, httpMethod) =>
      void recorder.refused(peers.whoIs(socket), error, { httpMethod }),
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.requestTimeout = REQUEST_MS;
  server.headersTimeout = REQUEST_MS;
  server.on('secureConnection', (socket) => {
    noticeLoss(socket);
    peers.admit(socket);
  });
  server.on('tlsClientError', (error, socket) => {
    const failed = new IdentityError('no_peer', `the TLS handshake failed: ${reasonOf(error)}`);
    recorder.refused({ address: addressOf(socket) }, failed);
    log.debug({ err: error }, 'a TLS handshake failed');
  });
  return server;
}

function sessionsOf(
  { sessions, clock, policy }: GatewayOptions,
  upstream: Upstream,
  recorder: CallRecorder,
  listeners: Listeners,
): Sessions {
  const max = sessions?.max ?? upstream.maxSessions;
  const { maxPerCaller = Math.ceil(max / 2), idleSeconds = 3600 } = sessions ?? {};
  const table = new Sessions({
    limits: { max, maxPerCaller, idleSeconds },
    clock,
    onBegin: (session) => listeners.begun(session, session.caller, policy.current()),
    onEnd(session, why, atServer) {
      recorder.ended(session, why);
      for (const asked of session.pending.values())
        recorder.unanswered({ id: session.caller, serial: session.serial }, asked, 'unknown', why);
      if (atServer) upstream.forget(session.upstream);
    },
  });
  upstream.onSessionEnd((name) =>
    table.end((session) => session.upstream === name, 'the process of the MCP server ended', false),
  );
  return table;
}

/** `Peers.admit` verifies the chain, so OpenSSL must accept every certificate. */
function tlsOf(svid: Svid) {
  return { ...serverTls(svid), requestCert: true, rejectUnauthorized: false };
}

async function answer(
  gate: Gate,
  peers: Peers,
  { req, res, log }: { req: IncomingMessage; res: ServerResponse; log: Log },
): Promise<void> {
  const seen = nothingSeen(req.socket);
  res.sendDate = false;
  // A client may leave while it is answered: that is no failure.
  res.on('error', (error) => log.debug({ err: error }, 'an answer did not arrive'));
  let peer: VerifiedSvid | undefined;
  try {
    ensure(req.socket instanceof TLSSocket, 'no_peer', 'a request without TLS');
    peer = peers.of(req.socket);
    if (req.url === CLAIMS) return await claimCalls(gate, peers, { req, res, peer });
    await handle(gate, begunBy(peers, { req, res, peer }, seen), seen);
  } catch (error) {
    if (!isRefusal(error)) log.error({ err: error }, 'the gateway failed');
    const refusal = refusalOf(error, 'internal', 'the gateway failed');
    refuseRequest(gate, { req, res }, refusal, { peer, seen });
  }
}

function refuseRequest(
  gate: Gate,
  { req, res }: { req: IncomingMessage; res: ServerResponse },
  error: IdentityError,
  { peer, seen }: { peer: VerifiedSvid | undefined; seen: Seen },
): void {
  const { message } = seen;
  // The refused connection already has a record.
  if (peer === undefined && req.socket.destroyed) return;
  gate.recorder.refused(peer ?? { address: addressOf(req.socket) }, error, {
    httpMethod: req.method,
    ...(message === undefined ? {} : { message }),
  });
  if (res.headersSent) return;
  // The connection ends, since the unread rest would be taken for the next request; and a stranger gets no next
  // request. The rest of a body that is too large is skipped until REQUEST_MS: many clients read no answer before they
  // have sent everything.
  const rest = !req.complete && error.code !== 'mcp_size';
  if (rest || peer === undefined) res.setHeader('connection', 'close');
  const data = dataOf(error, { req, seen, supported: versionsOf(gate.policy.current(), gate.server) });
  refuse(res, error, message?.kind === 'request' ? message.id : undefined, data);
}

interface Refused {
  readonly req: IncomingMessage;
  readonly seen: Seen;
  readonly supported: readonly string[];
}

/** The versions that the client can choose from (2026-07-28, "Protocol Version Negotiation"). */
function dataOf(error: IdentityError, { req, seen: { message }, supported }: Refused) {
  if (error.code !== 'mcp_version') return undefined;
  const claimed = message === undefined ? undefined : claimedVersion(message);
  return { supported, requested: claimed ?? header(req, 'mcp-protocol-version') ?? '' };
}

function listen(server: Server, { host, port }: { host: string; port: number }): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(refusalOf(error, 'unavailable', cannotListen(`${host}:${port}`, error))),
    );
    server.listen({ port, host, backlog: BACKLOG }, () => {
      deferAccept(server);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/**
 * The gateway: mutual TLS in front of MCP servers, which need no change. It decides each request by the newest
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
import { ensure, IdentityError, isRefusal, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import { claimedVersion } from '@chancery/shared/mcp/era.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { cannotListen } from '@chancery/shared/text/listening.ts';
import { serverTls } from '@chancery/shared/tls/options.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { openBehind, type ServerOptions, type SharedOptions } from './behind.ts';
import { recordHttpFailures } from './gateway/http-failures.ts';
import { versionsOf } from './gateway/judge/era.ts';
import type { PeersOptions, Successions } from './gateway/peers/connection.ts';
import { Peers } from './gateway/peers/peers.ts';
import { addressOf, placesOf } from './gateway/peers/places.ts';
import { asksAllowed, sayAllowed } from './gateway/request/allowed.ts';
import { allowsBy, claimCalls, termsOf } from './gateway/request/claim-calls.ts';
import { handle } from './gateway/request/handle.ts';
import { begunBy, nothingSeen, type Seen } from './gateway/request/inbound.ts';
import { Served } from './gateway/request/served.ts';
import { reasonOf } from './wire/answer/reason.ts';
import { refuse } from './wire/answer/reply.ts';
import { CLAIMS } from './wire/claims.ts';
import { header } from './wire/http-body.ts';
import { noticeLoss } from './wire/tcp.ts';

export interface GatewayOptions extends SharedOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** At least one, each with another name. */
  readonly servers: readonly ServerOptions[];
  readonly svid: Source<Svid>;
  readonly bundle: Source<Bundle>;
  readonly revocations: Source<RevocationSet>;
  readonly successions: Successions;
  /** By default what the limit of open files allows. */
  readonly connections?: Partial<ConnectionSettings>;
}

export interface Gateway {
  readonly port: number;
  /** How many sessions of the legacy era are open now, of each server. */
  sessions(): readonly { readonly server: string; readonly sessions: number }[];
  /** Ends all connections. Resolves when no connection and no child process is left. */
  close(): Promise<void>;
}

/** Longer than `connect` keeps an idle connection, so that the gateway never closes one under a request. */
const KEEP_ALIVE_MS = 10 * 60_000;
/** Requests are small: a caller that takes longer to send one holds a place for nothing. */
const REQUEST_MS = 30_000;
const MAX_CALL_SECONDS = 86_400;

/** Throws what the sources throw while they have no value yet. Rejects if it cannot listen. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { svid, bundle, policy, revocations, servers, clock } = options;
  const connections = placesOf(options);
  const all = servers.map((each) => openBehind(each, options, servers.length));
  const [first, ...more] = all.map(({ gate }) => gate);
  ensure(first !== undefined, 'config', 'a gateway needs a server');
  const served = new Served(first, ...more);
  const peers = peersOf(options, served, connections);
  const server = serverOf(options, served, peers);
  connections.guard(server, { firstByteMs: HANDSHAKE_MS });
  const stops = [
    // Open connections keep the certificate of their handshake; new ones get the new certificate.
    svid.onChange((next) => server.setSecureContext(tlsOf(next))),
    bundle.onChange(() => peers.verifyAgain()),
    options.successions.onChange(() => claimAgain(options, served, peers)),
    revocations.onChange((set) => {
      peers.cutRevoked();
      for (const each of all) each.revoked(set);
    }),
    policy.onChange((next) => {
      const names = servers.map((each) => each.server);
      peers.judgeAgain(allowsBy(next, names, clock.now()));
      for (const each of all) each.policyChanged(next);
    }),
  ];
  const port = await listen(server, options.listen);
  return {
    port,
    sessions: () => all.map(({ gate: { server, sessions } }) => ({ server, sessions: sessions.size })),
    async close() {
      for (const stop of stops) stop();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      peers.cutAll();
      for (const each of all) each.stop();
      await Promise.all([closed, ...all.map((each) => each.close())]);
      for (const { gate } of all) gate.recorder.close();
    },
  };
}

function peersOf(options: GatewayOptions, served: Served, connections: Connections): Peers {
  const { log, servers } = options;
  const onRefused: PeersOptions['onRefused'] = (error, peer, address) => {
    const inFull = served.first.recorder.refused(peer ?? { address }, error);
    if (inFull && error.code === 'revoked_peer')
      log.warn({ detail: error.message, serial: peer?.serial }, 'cut off');
  };
  const seconds = new Map(servers.map((each) => [each.server, each.maxCallSeconds]));
  const maxCallSeconds = (server = ''): number => seconds.get(server) ?? MAX_CALL_SECONDS;
  return new Peers({ ...options, maxCallSeconds, connections, onRefused });
}

function claimAgain({ log }: GatewayOptions, served: Served, peers: Peers): void {
  const judged = peers.claimAgain(() => termsOf(served));
  judged.catch((error: unknown) => log.error({ err: error }, 'claims could not be judged again'));
}

function serverOf({ svid, log }: GatewayOptions, served: Served, peers: Peers): Server {
  const { recorder } = served.first;
  const onRequest = (req: IncomingMessage, res: ServerResponse): void =>
    void answer(served, peers, { req, res, log });
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

/** `Peers.admit` verifies the chain, so OpenSSL must accept every certificate. */
function tlsOf(svid: Svid) {
  return { ...serverTls(svid), requestCert: true, rejectUnauthorized: false };
}

async function answer(
  served: Served,
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
    if (req.url === CLAIMS) return await claimCalls(served, peers, { req, res, peer });
    const begun = begunBy(peers, { req, res, peer }, seen);
    await (asksAllowed(req.url) ? sayAllowed(served, begun, seen) : handle(served, begun, seen));
  } catch (error) {
    if (!isRefusal(error)) log.error({ err: error }, 'the gateway failed');
    const refusal = refusalOf(error, 'internal', 'the gateway failed');
    refuseRequest(served, { req, res }, refusal, { peer, seen });
  }
}

function refuseRequest(
  served: Served,
  { req, res }: { req: IncomingMessage; res: ServerResponse },
  error: IdentityError,
  { peer, seen }: { peer: VerifiedSvid | undefined; seen: Seen },
): void {
  const { message } = seen;
  // The refused connection already has a record.
  if (peer === undefined && req.socket.destroyed) return;
  const gate = served.gateOf(seen.server);
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

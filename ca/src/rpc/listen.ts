/**
 * Where callers come in: a TLS port and the CA's own unix sockets. TLS ends here, not in grpc-js, so that resumption is
 * off, the certificate can be swapped while connections live, and one mechanism names every caller.
 */
import type net from 'node:net';
import tls from 'node:tls';
import type { Connection, Connections } from '@chancery/shared/door/connections.ts';
import { deferAccept } from '@chancery/shared/door/defer-accept.ts';
import type { SlowAddresses } from '@chancery/shared/door/slow-addresses.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError, isRefusal, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import { listenUnix, type UnixListenDeps, type UnixPeer } from '@chancery/shared/rpc/listen-unix.ts';
import { closerOf, type Listener } from '@chancery/shared/rpc/listener.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { cannotListen } from '@chancery/shared/text/listening.ts';
import { serverTls } from '@chancery/shared/tls/options.ts';
import { verifyPeer } from '@chancery/shared/tls/peer.ts';
import { portHolder } from '@chancery/shared/unix/port-holder.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { type Caller, limitKeys, slowKeys, type TlsCaller } from './caller.ts';

/** For the first byte, and then for the handshake. */
const HANDSHAKE_MS = 5_000;
/** What the kernel may hold for us while many arrive at once; it takes its own limit where that is lower. */
const BACKLOG = 4_096;

export interface ListenDeps extends UnixListenDeps<Caller> {
  readonly clock: Clock;
}

export interface TlsListenOptions {
  readonly host: string;
  readonly port: number;
  readonly connections: Connections;
  readonly slow: SlowAddresses;
  readonly svid: Source<Svid>;
  readonly bundle: Source<Bundle>;
  /** The node of the certificate with this serial; undefined where it is not on record. */
  readonly nodeOf: (serial: string) => Promise<string | undefined>;
}

export interface LocalListenOptions {
  readonly path: string;
  readonly via: 'admin' | 'join';
  readonly connections: Connections;
}

/** The caller closes it. Throws unavailable where the address cannot be bound. */
export async function listenTls(options: TlsListenOptions, deps: ListenDeps): Promise<Listener> {
  const { svid } = options;
  const server = tls.createServer({
    ...serverTls(svid.current()),
    requestCert: true,
    // The peer is checked on every call by our own path validation: joining needs no certificate at all.
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
    handshakeTimeout: HANDSHAKE_MS,
    noDelay: true,
  });
  options.connections.guard(server, { firstByteMs: HANDSHAKE_MS });
  const stop = svid.onChange((next) => server.setSecureContext(serverTls(next)));
  server.on('secureConnection', (socket) => {
    admit(socket, options, deps).catch((error: unknown) => {
      deps.log.error({ err: error }, 'a connection could not be admitted');
      socket.destroy();
    });
  });
  server.on('tlsClientError', (error, socket) => {
    deps.log.debug({ err: error }, 'TLS handshake failed');
    // Node itself leaves a connection open whose handshake took too long.
    socket.destroy();
  });
  const close = closerOf(server, stop);
  await bound(server, { host: options.host, port: options.port });
  deferAccept(server);
  return { port: portOf(server), close };
}

async function admit(
  socket: tls.TLSSocket,
  { bundle, connections, nodeOf, slow }: TlsListenOptions,
  { callers, inject, log, clock }: ListenDeps,
): Promise<void> {
  socket.on('error', (error) => log.debug({ err: error }, 'connection failed'));
  const connection = connections.of(socket);
  // RFC 9113 section 3.2: HTTP/2 over TLS is agreed by ALPN; whoever offers none has nothing to say here.
  if (socket.alpnProtocol !== 'h2' || connection === undefined) {
    socket.destroy();
    return;
  }
  const caller = tlsCaller(socket, connection, { bundle, clock });
  const svid = goodSvidOf(caller, clock);
  if (svid !== undefined) {
    // One SPIFFE ID may be that of many nodes, so they cannot share its places.
    const holder = (await nodeOf(svid.serial)) ?? svid.id;
    if (socket.destroyed || !connection.certify({ serial: svid.serial, holder })) return;
  }
  if (!(await connection.wait(slow, slowKeys(limitKeys(caller), svid)))) return;
  const forget = callers.add(socket, caller);
  socket.once('close', forget);
  inject(socket);
}

/** Undefined for whoever has none: such peers stay where strangers are. */
function goodSvidOf(caller: TlsCaller, clock: Clock): VerifiedSvid | undefined {
  try {
    return caller.svid(clock.now());
  } catch {
    return undefined;
  }
}

/** Path validation once a connection and bundle; validity in time at every question. */
function tlsCaller(
  socket: tls.TLSSocket,
  connection: Connection,
  { bundle, clock }: { readonly bundle: Source<Bundle>; readonly clock: Clock },
): TlsCaller {
  const address = socket.remoteAddress ?? 'unknown';
  const shownCertificate = socket.getPeerX509Certificate() !== undefined;
  let sequence: bigint | undefined;
  let verdict: VerifiedSvid | IdentityError = new IdentityError('no_peer', 'the peer showed no certificate');
  const verify = (current: Bundle): void => {
    sequence = current.sequence;
    try {
      verdict = verifyPeer(socket, current, clock.now());
    } catch (error) {
      verdict = refusalOf(error, 'svid', 'the peer certificate could not be read');
    }
  };
  return {
    via: 'tls',
    address,
    answer: () => connection.answer(),
    shownCertificate,
    svid: (now) => {
      const current = bundle.current();
      if (shownCertificate && sequence !== current.sequence) verify(current);
      if (isRefusal(verdict)) throw verdict;
      const svid = verdict as VerifiedSvid;
      if (now > svid.notAfter)
        throw new IdentityError('expired_peer', `${svid.id} expired ${svid.notAfter.toISOString()}`);
      return svid;
    },
  };
}

/** The sockets of the CA: root and its own user on admin.sock, every user of this machine on join.sock. */
export function listenLocally(
  { path, via, connections }: LocalListenOptions,
  deps: UnixListenDeps<Caller>,
): Promise<Listener> {
  const mode = via === 'admin' ? 0o600 : 0o666;
  const advice = 'one CA uses a dataDir at a time';
  const callerOf = (connected: UnixPeer): Caller => ({ via, ...connected });
  return listenUnix({ path, mode, advice, backlog: BACKLOG, connections, callerOf }, deps);
}

function bound(server: net.Server, options: { readonly host: string; readonly port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      const { host, port } = options;
      const says = cannotListen(`${host}:${port}`, error, () => portHolder(port));
      reject(new IdentityError('unavailable', says, { cause: error }));
    });
    server.listen({ backlog: BACKLOG, ...options }, resolve);
  });
}

function portOf(server: net.Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/**
 * Accepts callers on a TLS port and on the CA's own unix sockets. TLS ends here and not in grpc-js, so that resumption
 * is off, the certificate can be replaced while connections are open, and one mechanism names every caller.
 */
import type net from 'node:net';
import tls from 'node:tls';
import type { Connection, Connections } from '@chancery/shared/door/connections.ts';
import { deferAccept } from '@chancery/shared/door/defer-accept.ts';
import { BACKLOG, HANDSHAKE_MS } from '@chancery/shared/door/first-byte.ts';
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
import { listeningProcess } from '@chancery/shared/unix/port-listener.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { type Caller, limitKeys, personOf, slowKeys, type TlsCaller } from './caller.ts';

export interface ListenDeps extends UnixListenDeps<Caller> {
  readonly clock: Clock;
}

export interface TlsListenOptions {
  readonly host: string;
  readonly port: number;
  readonly connections: Connections;
  readonly slow: SlowAddresses;
  /** It may come later: until then every handshake fails. */
  readonly svid: Source<Svid> & { has(): boolean };
  /** With what callers' paths are built: the bundle, and tainted roots. */
  readonly bundle: Source<Bundle>;
  /** The node that this certificate was issued to; undefined if it is not on record with its key. */
  readonly nodeOf: (svid: VerifiedSvid) => Promise<string | undefined>;
  /** Whether a tainted authority is above it: then it counts only where it is on record. */
  readonly isTainted: (svid: VerifiedSvid) => boolean;
  readonly findPerson: Parameters<typeof personOf>[2];
}

export interface LocalListenOptions {
  readonly path: string;
  readonly via: 'admin' | 'join';
  readonly connections: Connections;
}

/** The caller closes it. Throws unavailable if the address cannot be bound. */
export async function listenTls(options: TlsListenOptions, deps: ListenDeps): Promise<Listener> {
  const { svid } = options;
  const server = tls.createServer({
    ...serverTls(svid.has() ? svid.current() : undefined),
    requestCert: true,
    // Our own path validation checks the peer on every call; joining needs no certificate.
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
    // Node does not close a connection whose handshake takes too long.
    socket.destroy();
  });
  const close = closerOf(server, stop);
  await bound(server, { host: options.host, port: options.port });
  deferAccept(server);
  return { port: portOf(server), close };
}

async function admit(
  socket: tls.TLSSocket,
  { bundle, connections, nodeOf, isTainted, findPerson, slow }: TlsListenOptions,
  { callers, inject, log, clock }: ListenDeps,
): Promise<void> {
  socket.on('error', (error) => log.debug({ err: error }, 'connection failed'));
  const connection = connections.of(socket);
  // HTTP/2 over TLS requires ALPN (RFC 9113 section 3.2): a peer without it is refused.
  if (socket.alpnProtocol !== 'h2' || connection === undefined) {
    socket.destroy();
    return;
  }
  const shown = tlsCaller(socket, connection, { bundle, clock });
  const caller = { ...shown, person: () => personOf(shown, clock.now(), findPerson) };
  const svid = goodSvidOf(caller, clock);
  if (svid !== undefined) {
    // Many nodes may have one SPIFFE ID, so places are counted by node. Until the store says which, the wait is ours.
    const answered = connection.answer();
    try {
      const node = await nodeOf(svid);
      if (node === undefined && isTainted(svid)) {
        log.warn(
          { id: svid.id, serial: svid.serial },
          'a tainted authority has signed a certificate that is not on record',
        );
        socket.destroy();
        return;
      }
      const holder = node ?? svid.id;
      if (socket.destroyed || !connection.certify({ serial: svid.serial, holder })) return;
    } finally {
      answered();
    }
  }
  if (!(await connection.wait(slow, slowKeys(limitKeys(caller), svid)))) return;
  const forget = callers.add(socket, caller);
  socket.once('close', forget);
  inject(socket);
}

/** Undefined for a peer without a good certificate, which stays a stranger. */
function goodSvidOf(caller: TlsCaller, clock: Clock): VerifiedSvid | undefined {
  try {
    return caller.svid(clock.now());
  } catch {
    return undefined;
  }
}

/** Validates the path once per connection and bundle, and the time on every call. */
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
    sees: () => socket.getX509Certificate()?.raw,
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

/** Listens on a socket of the CA: root and the CA's user on admin.sock, every user of this machine on join.sock. */
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
      const says = cannotListen(`${host}:${port}`, error, () => listeningProcess(port));
      reject(new IdentityError('unavailable', says, { cause: error }));
    });
    server.listen({ backlog: BACKLOG, ...options }, resolve);
  });
}

function portOf(server: net.Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

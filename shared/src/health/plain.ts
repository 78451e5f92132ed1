/** A port for small requests of HTTP from anybody: health, metrics, revocation lists, key sets. */
import http from 'node:http';
import https from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import { Connections } from '../door/connections.ts';
import { IdentityError } from '../ground/errors.ts';
import { cannotListen } from '../text/listening.ts';
import { listeningProcess } from '../unix/port-listener.ts';

export interface PlainServer {
  readonly port: number;
  /** Ends the server. Resolves when it has ended. */
  close(): Promise<void>;
}

/** A request is one line: a client that takes longer to send it holds a place for nothing. */
const TIMEOUTS = {
  requestTimeout: 5_000,
  headersTimeout: 5_000,
  handshakeTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
};
/** A client that takes nothing of an answer for so long, or sends no other request. */
const IDLE_MS = 10_000;
/** Open connections of everybody, and of one address, for each such port. */
export const PLAIN_CONNECTIONS = 64;
const PER_ADDRESS = 32;

/** Throws unavailable if it cannot listen, and says who does. */
export async function listenPlain(at: PlainAddress, listener: http.RequestListener): Promise<PlainServer> {
  return listenOn(http.createServer(TIMEOUTS, listener), at);
}

/** As `listenPlain`, over TLS. `renew` takes another certificate for the connections that come. */
export async function listenHttps(
  at: PlainAddress,
  tls: SecureContextOptions,
  listener: http.RequestListener,
): Promise<PlainServer & { renew(tls: SecureContextOptions): void }> {
  const server = https.createServer({ ...TIMEOUTS, ...tls }, listener);
  return { ...(await listenOn(server, at)), renew: (next) => server.setSecureContext(next) };
}

/** Whether an If-None-Match names this strong entity tag (RFC 9110 section 13.1.2: compared weakly; a list, or *). */
export const isHeld = (ifNoneMatch: string | undefined, etag: string): boolean =>
  (ifNoneMatch ?? '').split(',').some((each) => ['*', etag, `W/${etag}`].includes(each.trim()));

interface PlainAddress {
  readonly host: string;
  readonly port: number;
}

async function listenOn(
  server: http.Server | https.Server,
  { host, port }: PlainAddress,
): Promise<PlainServer> {
  server.setTimeout(IDLE_MS);
  const none = { certified: 0, perCertificate: 0, perHolder: 0 };
  const places = { strangers: PLAIN_CONNECTIONS, perStranger: PER_ADDRESS, ...none };
  new Connections(places, () => {}).guard(server);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new IdentityError(
          'unavailable',
          cannotListen(`${host}:${port}`, error, () => listeningProcess(port)),
        ),
      ),
    );
    server.listen(port, host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

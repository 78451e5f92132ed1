/**
 * Serves key set and discovery document over HTTPS. Both are public; nothing else is served, and the Host is not looked
 * at: the documents name the issuer of the config.
 */
import { hash } from 'node:crypto';
import type http from 'node:http';
import type { SecureContextOptions } from 'node:tls';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import { isHeld, listenHttps } from '@chancery/shared/health/plain.ts';
import { REFRESH_HINT_SECONDS } from '@chancery/shared/spiffe/bundle.ts';
import type { JwtAuthority } from '@chancery/shared/spiffe/jwt-authority.ts';
import { DISCOVERY_PATH, discoveryText, KEY_SET_PATH, keySetText } from './documents.ts';

export interface KeyServerOptions {
  readonly host: string;
  readonly port: number;
  readonly issuer: string;
  readonly bundle: Source<{ readonly jwtAuthorities: readonly JwtAuthority[] }>;
  /** Certificate and key as their files are now. Throws config, file, file_mode. Blocks. */
  readonly readTls: () => { readonly cert: Uint8Array; readonly key: Uint8Array };
  readonly clock: Clock;
  readonly log: Log;
}

export interface KeyServer {
  readonly port: number;
  /** Ends the server and the looks at its files. */
  close(): Promise<void>;
}

const LOOK_SECONDS = 30;
/** Software of others: those that cannot do 1.3 yet read public keys over 1.2. */
const TLS = { minVersion: 'TLSv1.2' } as const satisfies SecureContextOptions;

/** Throws unavailable, and config, file, file_mode for a certificate or a key that cannot be used. */
export async function serveKeys(options: KeyServerOptions): Promise<KeyServer> {
  const { host, port, issuer, bundle, readTls } = options;
  const first = readTls();
  // The path of the issuer is part of what verifiers ask for (section 4.1); an ingress may have taken it away.
  const { pathname } = new URL(issuer);
  const prefix = pathname === '/' ? '' : pathname;
  const documents = new Map([
    [DISCOVERY_PATH, () => discoveryText(issuer)],
    [KEY_SET_PATH, () => keySetText(bundle.current().jwtAuthorities)],
  ]);
  const server = await listenHttps({ host, port }, { ...TLS, ...pemOf(first) }, (request, response) => {
    const { url = '' } = request;
    const path = url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : url;
    const { status, headers, body } = answerTo(request, documents.get(path));
    response.writeHead(status, status === 304 ? headers : { ...headers, 'content-length': body.length });
    response.end(request.method === 'HEAD' ? undefined : body);
  });
  const stop = new AbortController();
  const renewing = renew(first, server.renew, options, stop.signal);
  const close = async (): Promise<void> => {
    stop.abort();
    await renewing;
    await server.close();
  };
  return { port: server.port, close };
}

type Pair = ReturnType<KeyServerOptions['readTls']>;
const pemOf = ({ cert, key }: Pair) => ({ cert: Buffer.from(cert), key: Buffer.from(key) });
const nameOf = (pair: Pair): string =>
  Object.values(pemOf(pair))
    .map((each) => hash('sha256', each))
    .join();

/** Takes other files within half a minute. One that cannot be used is told once, and the one before goes on. */
async function renew(
  first: Pair,
  take: (tls: SecureContextOptions) => void,
  { readTls, clock, log }: KeyServerOptions,
  signal: AbortSignal,
): Promise<void> {
  let [known, told] = [nameOf(first), ''];
  for (;;) {
    await clock.sleepUntil(new Date(clock.now().getTime() + LOOK_SECONDS * 1000), signal).catch(() => {});
    if (signal.aborted) return;
    try {
      const pair = readTls();
      if (nameOf(pair) !== known) take({ ...TLS, ...pemOf(pair) });
      [known, told] = [nameOf(pair), ''];
    } catch (error) {
      if (String(error) !== told) log.error({ err: error }, 'jwt.certificate or jwt.key cannot be used');
      told = String(error);
    }
  }
}

interface Answer {
  readonly status: number;
  readonly headers: http.OutgoingHttpHeaders;
  readonly body: Uint8Array;
}

/** A cache may keep an answer until the age after which a new key may sign. */
const CACHED = {
  'cache-control': `public, max-age=${REFRESH_HINT_SECONDS}`,
  'content-type': 'application/json',
};

function answerTo({ method, headers }: http.IncomingMessage, write: (() => string) | undefined): Answer {
  if (method !== 'GET' && method !== 'HEAD') return says(405, 'GET and HEAD only', { allow: 'GET, HEAD' });
  if (write === undefined) return says(404, `ask for ${DISCOVERY_PATH} or ${KEY_SET_PATH}`);
  const body = Buffer.from(write());
  const about = { ...CACHED, etag: `"${hash('sha256', body)}"` };
  if (isHeld(headers['if-none-match'], about.etag))
    return { status: 304, headers: about, body: Buffer.alloc(0) };
  return { status: 200, headers: about, body };
}

function says(status: number, why: string, headers: http.OutgoingHttpHeaders = {}): Answer {
  const plain = { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' };
  return { status, headers: { ...plain, ...headers }, body: Buffer.from(`${why}\n`) };
}

/**
 * Serves CRLs over plain HTTP (RFC 5280 section 5, RFC 2585 section 4): they are signed and public, and the software
 * that asks for them may need them before it can trust a TLS server. Nothing else is served, and the Host is not
 * looked at.
 */
import type http from 'node:http';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { LiveValue } from '@chancery/shared/ground/source.ts';
import { isHeld, listenPlain, type PlainServer } from '@chancery/shared/health/plain.ts';
import type { MadeCrl } from './sign.ts';

export interface CrlServerOptions {
  readonly host: string;
  readonly port: number;
  readonly lists: LiveValue<readonly MadeCrl[]>;
  readonly clock: Clock;
}

/** An answer of 8 MiB takes less over a line of 1 Mbit/s. */
const ANSWER_MS = 120_000;
const MAX_AGE_SECONDS = 60;
/** In the origin form or the absolute form of a request line (RFC 9112 section 3.2.2: a server takes both). */
const PATH = /^(?:https?:\/\/[^/?#]+)?\/([0-9a-f]{2,40})\.crl$/;

/** GET and HEAD of /SERIAL.crl, with the serial of the issuer. Throws unavailable. The caller closes it. */
export async function serveCrls({ host, port, lists, clock }: CrlServerOptions): Promise<PlainServer> {
  return listenPlain({ host, port }, (request, response) => {
    const late = setTimeout(() => request.socket.destroy(), ANSWER_MS);
    response.once('close', () => clearTimeout(late));
    const { status, headers, body } = answerTo(request, lists, clock.now());
    response.writeHead(status, status === 304 ? headers : { ...headers, 'content-length': body.length });
    response.end(request.method === 'HEAD' ? undefined : body);
  });
}

interface Answer {
  readonly status: number;
  readonly headers: http.OutgoingHttpHeaders;
  readonly body: Uint8Array;
}

function answerTo(
  { method, url = '', headers }: http.IncomingMessage,
  lists: LiveValue<readonly MadeCrl[]>,
  now: Date,
): Answer {
  if (method !== 'GET' && method !== 'HEAD') return says(405, 'GET and HEAD only', { allow: 'GET, HEAD' });
  const [, serial] = PATH.exec(url) ?? [];
  if (serial === undefined) return says(404, 'ask for /SERIAL.crl');
  const known = lists.has() ? lists.current() : undefined;
  const list = known?.find((each) => each.serial === serial);
  // A list that has ended is not served: a client that did not look would take it for the newest.
  if (known === undefined || (list !== undefined && list.nextUpdate <= now))
    return says(503, 'there is no valid revocation list at the moment', { 'retry-after': '5' });
  if (list === undefined) return says(404, 'there is no revocation list of this issuer');
  const about = headersOf(list, now);
  if (isHeld(headers['if-none-match'], about.etag))
    return { status: 304, headers: about, body: new Uint8Array() };
  return { status: 200, headers: { ...about, 'content-type': 'application/pkix-crl' }, body: list.der };
}

/** Who has a list may use it until its nextUpdate; a cache that others ask looks soon whether there is a newer one. */
const headersOf = ({ number, thisUpdate, nextUpdate }: MadeCrl, now: Date) => ({
  etag: `"${number.toString(16)}"`,
  'cache-control': `public, max-age=${Math.min(MAX_AGE_SECONDS, Math.floor(secondsUntil(nextUpdate, now)))}`,
  'last-modified': thisUpdate.toUTCString(),
});

const secondsUntil = (time: Date, now: Date): number => (time.getTime() - now.getTime()) / 1000;

function says(status: number, why: string, headers: http.OutgoingHttpHeaders = {}): Answer {
  const plain = { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' };
  return { status, headers: { ...plain, ...headers }, body: Buffer.from(`${why}\n`) };
}

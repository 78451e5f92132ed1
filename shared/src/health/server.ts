/** Health and metrics, for probes and Prometheus: metrics on loopback only. */
import type http from 'node:http';
import type { Log } from '../ground/log.ts';
import { listenPlain, type PlainServer } from './plain.ts';

export interface HealthOptions {
  readonly host: string;
  readonly port: number;
  /** Undefined if only health is served. */
  readonly metrics: Exposition | undefined;
  /** Undefined when the program can do its work, else why it cannot. */
  readonly unfit: () => string | undefined;
  /** What does not work while the program does its work; undefined if all does. */
  readonly impaired?: () => string | undefined;
  /** Logs each new reason. */
  readonly log?: Pick<Log, 'warn'> | undefined;
}

/** What Prometheus reads. */
export interface Exposition {
  readonly contentType: string;
  /** All metrics in the format of `contentType`. */
  text(): Promise<string>;
}

/** GET /healthz: the process answers. GET /readyz: it can do its work. GET /metrics. Throws unavailable. */
export async function serveHealth(given: HealthOptions): Promise<PlainServer> {
  const options = { ...given, unfit: logged(given) };
  return listenPlain(options, (request, response) => {
    answer(request, options).then(
      ({ status, type = 'text/plain; charset=utf-8', body }) => {
        response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body);
      },
      () => response.writeHead(500).end(),
    );
  });
}

/** The reason, which the log has when it is new. */
function logged({ unfit, log }: HealthOptions): () => string | undefined {
  let last: string | undefined;
  return () => {
    const why = unfit();
    if (why !== undefined && why !== last) log?.warn({ reason: why }, 'not ready');
    last = why;
    return why;
  };
}

interface Answer {
  readonly status: number;
  readonly type?: string;
  readonly body: string;
}

async function answer(
  { method, url, headers }: http.IncomingMessage,
  { metrics, unfit, impaired }: HealthOptions,
): Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD') return { status: 405, body: 'GET only\n' };
  if (metrics !== undefined && !isOwnName(headers.host))
    return { status: 421, body: 'the Host header must name 127.0.0.1, [::1] or localhost\n' };
  if (url === '/healthz') return { status: 200, body: 'ok\n' };
  if (url === '/metrics' && metrics !== undefined)
    return { status: 200, type: metrics.contentType, body: await metrics.text() };
  if (url !== '/readyz')
    return { status: 404, body: `see /healthz, /readyz${metrics === undefined ? '' : ', /metrics'}\n` };
  const why = unfit();
  // Beyond loopback anybody may ask, and the reason can name paths and people.
  const but = metrics === undefined ? undefined : impaired?.();
  if (why === undefined) return { status: 200, body: but === undefined ? 'ready\n' : `ready, but ${but}\n` };
  return { status: 503, body: metrics === undefined ? 'not ready\n' : `${why}\n` };
}

/** Refuses other hosts: a web page whose name resolves to loopback sends that name (DNS rebinding). */
const isOwnName = (host: string | undefined): boolean =>
  host !== undefined && /^(127(\.[0-9]{1,3}){3}|\[::1\]|localhost)(:[0-9]{1,5})?$/i.test(host);

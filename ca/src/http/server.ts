/** Health and metrics on loopback, for probes and Prometheus. */
import http from 'node:http';
import { IdentityError } from '@chancery/shared/errors.ts';
import type { Metrics } from './metrics.ts';

export interface HttpOptions {
  readonly host: string;
  readonly port: number;
  readonly metrics: Metrics;
  /** Undefined when the CA can issue, else why it cannot. */
  readonly unfit: () => string | undefined;
}

export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

/** GET /healthz: the process answers. GET /readyz: it can issue. GET /metrics. Throws unavailable. */
export async function serveHttp(options: HttpOptions): Promise<HttpServer> {
  const server = http.createServer({ requestTimeout: 5_000, headersTimeout: 5_000 }, (request, response) => {
    answer(request, options).then(
      ({ status, type = 'text/plain; charset=utf-8', body }) => {
        response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body);
      },
      () => response.writeHead(500).end(),
    );
  });
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new IdentityError(
          'unavailable',
          `cannot serve HTTP on ${options.host}:${options.port}: ${error.message}`,
        ),
      ),
    );
    server.listen(options.port, options.host, resolve);
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

interface Answer {
  readonly status: number;
  readonly type?: string;
  readonly body: string;
}

async function answer(request: http.IncomingMessage, { metrics, unfit }: HttpOptions): Promise<Answer> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return { status: 405, body: 'GET only\n' };
  if (request.url === '/healthz') return { status: 200, body: 'ok\n' };
  if (request.url === '/metrics')
    return { status: 200, type: metrics.contentType, body: await metrics.text() };
  if (request.url !== '/readyz') return { status: 404, body: 'see /healthz, /readyz, /metrics\n' };
  const why = unfit();
  return why === undefined ? { status: 200, body: 'ready\n' } : { status: 503, body: `${why}\n` };
}

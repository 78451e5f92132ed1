/**
 * The agent's own socket, 0600: its status, and certificates for `connect` processes of the same user, which make
 * their own keys. HTTP/1.1 with JSON; a stream of lines tells them what changes.
 */
import http from 'node:http';
import {
  IdentityClient,
  type Issued,
  type IssueX509Request,
} from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { base64 } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError, isRefusal, REFUSALS, refusalOf } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { readWhole } from '@chancery/shared/ground/read-whole.ts';
import { BY_MODE, type OwnCallers, ownCallers } from '@chancery/shared/unix/own-callers.ts';
import { listenPrivately } from '@chancery/shared/unix/private-socket.ts';
import * as grpc from '@grpc/grpc-js';
import type { MemoryKeyAgent } from '../agent.ts';
import { refusalFromCa } from '../svid/channel.ts';
import { storeRevocations } from '../trust/state/revocations.ts';
import type { StatusReport, TrustLine } from './local-messages.ts';

/** The parts of an agent that are served. */
export type ServedAgent = Pick<MemoryKeyAgent, 'svid' | 'bundle' | 'trust'>;

export interface LocalApiOptions {
  readonly path: string;
  /** Resolves once the agent has joined. Undefined if the agent cannot use its key: then only the status is served. */
  readonly agent: Promise<ServedAgent> | undefined;
  readonly status: () => StatusReport;
  readonly ownUid: number;
  readonly log: Log;
  /** Whether the kernel is asked for callers; by default where that is possible. */
  readonly namesPeers?: boolean;
}

/** With the scope that the certificate is to have, and the serial of the certificate that it replaces. */
const SVID_REQUEST = /^POST \/v1\/svid(?:\/([a-z0-9-]{1,63}))?(?:\?succeeds=((?:[0-9a-f]{2}){1,20}))?$/;
const MAX_CSR_BYTES = 16 * 1024;
const CALL_MS = 10_000;

/** Throws file, file_mode, unavailable. */
export async function serveLocalApi(options: LocalApiOptions): Promise<{ close(): Promise<void> }> {
  const { path, log, ownUid } = options;
  let callers: OwnCallers | undefined;
  const server = http.createServer({ requestTimeout: CALL_MS }, (request, response) => {
    answer(request, response, { ...options, callers }).catch((error: unknown) => {
      const refusal = refusalOf(error, 'internal', String(error));
      log.warn({ err: refusal, url: request.url }, 'a local caller is refused');
      if (!response.headersSent)
        response.writeHead(statusOf(refusal), { 'content-type': 'application/json' });
      response.end(JSON.stringify({ code: refusal.code, message: refusal.message }));
    });
  });
  server.maxConnections = 256;
  await listenPrivately(server, { path, mode: 0o600, advice: 'one agent uses a dataDir at a time' });
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  try {
    callers = ownCallers(path, [ownUid, 0], options.namesPeers);
  } catch (error) {
    await close();
    throw error;
  }
  if (!callers.named) log.warn({ socket: path }, BY_MODE);
  return { close };
}

interface Served extends LocalApiOptions {
  /** Set before the first caller is answered. */
  readonly callers: OwnCallers | undefined;
}

async function answer(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  { agent, status, callers }: Served,
): Promise<void> {
  ensure(callers !== undefined, 'unavailable', 'the agent is not ready yet');
  callers.ensureOwn(request.socket);
  const asked = `${request.method} ${request.url}`;
  if (asked === 'GET /v1/status') return json(response, status());
  ensure(agent !== undefined, 'message_parse', `${asked} is not served: the key of this agent is in its TPM`);
  if (asked === 'GET /v1/trust') return streamTrust(agent, response);
  const [, scope = '', succeeds = ''] = SVID_REQUEST.exec(asked) ?? [];
  ensure(SVID_REQUEST.test(asked), 'message_parse', `${asked} is not served`);
  const csrs = [await readBody(request)];
  const issued = await issue(await agent, { csrs, succeeds: Buffer.from(succeeds, 'hex'), scope });
  json(response, {
    id: issued.spiffeId,
    chain: issued.chain.map(base64),
    renewAfter: Number(issued.renewAfter),
  });
}

function json(response: http.ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

/** Sends the state once the agent has joined and after every change, each as one line. */
async function streamTrust(joining: Promise<ServedAgent>, response: http.ServerResponse): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' }).flushHeaders();
  const agent = await joining;
  if (response.closed) return;
  const send = (): void => {
    const line = trustLine(agent);
    if (line !== undefined) response.write(`${JSON.stringify(line)}\n`);
  };
  const sources = [agent.svid, agent.bundle, agent.trust.policy, agent.trust.revocations];
  const stops = sources.map((source) => source.onChange(send));
  response.once('close', () => {
    for (const stop of stops) stop();
  });
  send();
}

function trustLine({ svid, bundle, trust }: ServedAgent): TrustLine | undefined {
  const { policy, resources, revocations } = trust;
  try {
    const { trustDomain, authorities, sequence } = bundle.current();
    return {
      svidNotAfter: svid.current().notAfter.toISOString(),
      bundle: { trustDomain, authorities: authorities.map(base64), sequence: String(sequence) },
      policy: { version: String(policy.current().version), resources: resources() },
      revocations: storeRevocations(revocations.current()),
    };
  } catch (error) {
    // There is no state before the first snapshot; the next change sends it.
    if (isRefusal(error, 'unavailable')) return undefined;
    throw error;
  }
}

async function issue(agent: ServedAgent, asked: IssueX509Request): Promise<Issued> {
  const target = agent.trust.caTarget();
  const client = new IdentityClient(target.address, target.credentials, target.options);
  try {
    const { issued } = await new Promise<{ issued: readonly Issued[] }>((resolve, reject) => {
      client.issueX509(asked, new grpc.Metadata(), { deadline: Date.now() + CALL_MS }, (error, answered) =>
        error ? reject(refusalFromCa(error)) : resolve(answered),
      );
    });
    const [first] = issued;
    ensure(first !== undefined, 'unavailable', 'the CA answered without a certificate');
    return first;
  } finally {
    client.close();
  }
}

function readBody(request: http.IncomingMessage): Promise<Buffer> {
  const tooLong = () => new IdentityError('csr_size', `the request has more than ${MAX_CSR_BYTES} bytes`);
  return readWhole(request, MAX_CSR_BYTES, tooLong);
}

const HTTP_STATUS: Readonly<Record<string, number>> = {
  INVALID_ARGUMENT: 400,
  PERMISSION_DENIED: 403,
  UNAUTHENTICATED: 403,
  RESOURCE_EXHAUSTED: 413,
  UNAVAILABLE: 503,
};

const statusOf = ({ code }: IdentityError): number => HTTP_STATUS[REFUSALS[code].grpc] ?? 500;

/**
 * A Kubernetes API server over HTTPS on loopback, with its own CA: the few resources that Chancery asks for, behind
 * authentication by service-account token and a list of what each user may do. It records every request.
 */
import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import { writePem } from '@chancery/shared/der/pem.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { keyPem } from '@chancery/shared/tls/options.ts';
import * as x509 from '@chancery/shared/x509/extensions.ts';
import { makeAuthority, makeLeaf } from '../certificates.ts';
import { authenticate, Cluster, type Pod, refOf } from './cluster.ts';
import {
  ensureJsonAnswer,
  ensureKnownParameters,
  ensureProduces,
  JSON_TYPE,
  JWKS_TYPE,
  readBody,
} from './negotiation.ts';
import { type Answer, type Body, failure, Refused } from './status.ts';
import { createToken } from './token-request.ts';
import { spoil, type Trouble } from './trouble.ts';

/** What one user may do; the verbs and resources of RBAC. */
export type Permission =
  | 'create tokenreviews'
  | 'get pods'
  | 'get nodes'
  | `create serviceaccounts/token ${string}/${string}`;

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: string;
}

export interface ApiServer {
  readonly cluster: Cluster;
  readonly url: string;
  /** Of the cluster's own CA, as PEM. */
  readonly caPem: string;
  readonly seen: readonly SeenRequest[];
  allow(username: string, ...permissions: readonly Permission[]): void;
  /** What goes wrong with requests whose path matches, until it is called again; undefined mends it. */
  spoil(path: RegExp, trouble: Trouble | undefined): void;
  close(): Promise<void>;
}

export interface ServerOptions {
  readonly clock: Clock;
  /** The issuer is where the server is, and tells its keys to everybody, as those of managed clusters do. */
  readonly publicIssuer?: boolean;
}

interface Parts {
  readonly cluster: Cluster;
  readonly permissions: ReadonlyMap<string, ReadonlySet<string>>;
  readonly url: () => string;
}

export async function startApiServer({ clock, publicIssuer = false }: ServerOptions): Promise<ApiServer> {
  const cluster = new Cluster(clock);
  const permissions = new Map<string, Set<string>>();
  const troubles = new Map<string, { path: RegExp; trouble: Trouble }>();
  const parts: Parts = { cluster, permissions, url: () => listening.url };
  const listening = await listen(async (request, response, body) => {
    const found = [...troubles.values()].find(({ path }) => path.test(request.url ?? ''));
    const answer = () => reply(parts, request, body);
    if (found === undefined) write(response, answer());
    else await spoil(found.trouble, response, answer);
  });
  if (publicIssuer) cluster.issuer = listening.url;
  return {
    cluster,
    ...listening,
    allow: (username, ...more) => {
      permissions.set(username, new Set([...(permissions.get(username) ?? []), ...more]));
    },
    spoil: (path, trouble) => {
      if (trouble === undefined) troubles.delete(path.source);
      else troubles.set(path.source, { path, trouble });
    },
  };
}

/** A host that a redirect leads to: it answers anything, and keeps what it was sent. */
export const startStranger = (answer: object) =>
  listen(async (_, response) => write(response, { status: 201, body: answer }));

type Serve = (request: IncomingMessage, response: ServerResponse, body: string) => Promise<void>;

/** One authority for all of a run's servers: where a redirect does not lead must not be TLS's merit. */
const DAY_MS = 86_400_000;
const validity = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + 10 * DAY_MS) };
const authority = makeAuthority('cluster CA', undefined, { fields: validity });
export const CLUSTER_CA_PEM = writePem('CERTIFICATE', authority.certificate.der);

async function listen(serve: Serve) {
  const names = x509.subjectAltName({ uris: [], dnsNames: ['localhost'], critical: true });
  const leaf = makeLeaf('', authority, { fields: validity, extensions: { names } });
  const seen: SeenRequest[] = [];
  const cert = writePem('CERTIFICATE', leaf.certificate.der);
  const server = https.createServer({ cert, key: keyPem(leaf.key) }, async (request, response) => {
    const body = await textOf(request);
    const { method = '', url: path = '', headers } = request;
    seen.push({ method, path, authorization: headers.authorization, body });
    await serve(request, response, body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `https://localhost:${port}`,
    caPem: CLUSTER_CA_PEM,
    seen,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function write(response: ServerResponse, { status, body, type = JSON_TYPE }: Answer): void {
  response.writeHead(status, { 'content-type': type });
  response.end(JSON.stringify(body));
}

function reply(parts: Parts, request: IncomingMessage, body: string): Answer {
  try {
    const { headers, method = '', url = '' } = request;
    const user = userOf(parts.cluster, headers.authorization);
    const { pathname: path, searchParams: query } = new URL(url, 'https://server');
    return route(parts, { user, method, path, query, headers, body });
  } catch (error) {
    if (error instanceof Refused) return error.answer;
    throw error;
  }
}

/** Without a bearer token one is system:anonymous, and allowed nothing here. */
function userOf(cluster: Cluster, authorization = ''): string {
  const [, token] = /^bearer +([^ ]+)/i.exec(authorization.trim()) ?? [];
  if (token === undefined) return 'system:anonymous';
  const verdict = authenticate(cluster, token, []);
  if ('error' in verdict) throw new Refused(401, 'Unauthorized', 'Unauthorized');
  return verdict.user.username;
}

interface Call {
  readonly user: string;
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

function route(parts: Parts, call: Call): Answer {
  return routeMetadata(parts, call) ?? routeResource(parts, call);
}

/** ClusterRole system:service-account-issuer-discovery is bound to every service account, and to no stranger. */
function routeMetadata({ cluster, url }: Parts, { user, method, path, headers }: Call): Answer | undefined {
  const mayDiscover = user !== 'system:anonymous' || cluster.issuer === url();
  if (method !== 'GET' || !mayDiscover) return undefined;
  if (path === '/.well-known/openid-configuration') {
    ensureProduces(JSON_TYPE, headers);
    return { status: 200, body: discovery(cluster, url()) };
  }
  if (path !== '/openid/v1/jwks') return undefined;
  ensureProduces(JWKS_TYPE, headers);
  return { status: 200, type: JWKS_TYPE, body: cluster.signer.jwks() };
}

function routeResource({ cluster, permissions }: Parts, call: Call): Answer {
  const allowed = (permission: Permission): void => {
    if (!permissions.get(call.user)?.has(permission))
      throw new Refused(403, 'Forbidden', `User "${call.user}" cannot ${permission}`);
    ensureKnownParameters(call.query);
    ensureJsonAnswer(call.headers);
  };
  const request = `${call.method} ${call.path}`;
  if (request === 'POST /apis/authentication.k8s.io/v1/tokenreviews') {
    allowed('create tokenreviews');
    return { status: 201, body: review(cluster, readBody(call.body, 'TokenReview', call.headers)) };
  }
  const [, namespace = '', account = ''] =
    /^POST \/api\/v1\/namespaces\/([^/]+)\/serviceaccounts\/([^/]+)\/token$/.exec(request) ?? [];
  if (account !== '') {
    allowed(`create serviceaccounts/token ${namespace}/${account}`);
    return createToken(cluster, { namespace, account }, readBody(call.body, 'TokenRequest', call.headers));
  }
  const [, home = '', name = ''] = /^GET \/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)$/.exec(request) ?? [];
  if (name !== '') {
    allowed('get pods');
    return podAnswer(cluster.pods.get(`${home}/${name}`), name);
  }
  const [, node = ''] = /^GET \/api\/v1\/nodes\/([^/]+)$/.exec(request) ?? [];
  if (node === '') throw new Refused(403, 'Forbidden', `User "${call.user}" cannot ${request}`);
  allowed('get nodes');
  const found = cluster.nodes.get(node);
  if (found === undefined) return failure(404, 'NotFound', `nodes "${node}" not found`);
  return { status: 200, body: { apiVersion: 'v1', kind: 'Node', metadata: refOf(found) } };
}

/** registry/authentication/tokenreview: what was asked comes back, the token with it. */
export function review(cluster: Cluster, asked: Body): object {
  const { token = '', audiences = [] } = asked.spec ?? {};
  const verdict = authenticate(cluster, token, audiences);
  const status = 'error' in verdict ? { user: {}, ...verdict } : { authenticated: true, ...verdict };
  return {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    metadata: {},
    spec: asked.spec,
    status,
  };
}

const discovery = (cluster: Cluster, url: string): object => ({
  issuer: cluster.issuer,
  jwks_uri: `${url}/openid/v1/jwks`,
  response_types_supported: ['id_token'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['RS256'],
});

function podAnswer(pod: Pod | undefined, name: string): Answer {
  if (pod === undefined) return failure(404, 'NotFound', `pods "${name}" not found`);
  const { account, node, phase } = pod;
  const spec = { serviceAccountName: account.name, ...(node === undefined ? {} : { nodeName: node.name }) };
  const metadata = { ...refOf(pod), namespace: account.namespace };
  return { status: 200, body: { apiVersion: 'v1', kind: 'Pod', metadata, spec, status: { phase } } };
}

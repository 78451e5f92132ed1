/**
 * What connect and the gateway add to a tool call: the reference server's echo, called directly, through the gateway by
 * a client that speaks mutual TLS itself, and through connect and gateway. Server, gateway and connect are processes of
 * their own; the client is this one.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { Access, McpServer } from '@chancery/shared/policy/resources.ts';
import { clientTls } from '@chancery/shared/tls/options.ts';
import type { Svid } from '@chancery/shared/tls/source.ts';
import { startEverything, TOOLS, TRIAGE, TrustDomainInMemory } from '../kit/mcp.ts';
import type { Role } from './mcp-role.ts';

const ROUNDS = 20;
const CALLS = 150;
const WARM_UP = 500;
const PARALLEL_CALLS = 4_000;
const PARALLEL = 16;

export interface BenchResult {
  readonly table: readonly (readonly [what: string, value: string])[];
  readonly json: Readonly<Record<string, number>>;
}

type Progress = (text: string) => void;

export async function run(progress: Progress): Promise<BenchResult> {
  progress('starting server, gateway and connect');
  const td = new TrustDomainInMemory();
  const server = await startEverything();
  const gateway = await startRole(td, 'gateway', server.url.href, 1);
  const connect = await startRole(td, 'connect', server.url.href, gateway.port);
  const tls = { ...clientTls(td.svid(TRIAGE), td.bundle.current()), checkServerIdentity: () => undefined };
  try {
    const direct = await Caller.open(http.request, new http.Agent({ keepAlive: true }), server.url.port);
    const agent = new https.Agent({ keepAlive: true, ...tls });
    const through = await Caller.open(https.request, agent, gateway.port);
    const both = await Caller.open(http.request, new http.Agent({ keepAlive: true }), connect.port);
    const callers = [direct, through, both];
    for (const caller of callers) await caller.calls(WARM_UP);
    const times: number[][] = callers.map(() => []);
    // In turns, so that whatever else the machine does meets all three alike.
    for (let round = 0; round < ROUNDS; round += 1) {
      progress(`round ${round + 1} of ${ROUNDS}`);
      for (const [index, caller] of callers.entries()) times[index]?.push(...(await caller.calls(CALLS)));
    }
    progress('as many as it can');
    const callsPerSecond = await both.flood(PARALLEL_CALLS, PARALLEL);
    const [one = [], two = [], three = []] = times;
    return report({
      directP50Ms: percentile(one, 50),
      gatewayP50Ms: percentile(two, 50),
      bothP50Ms: percentile(three, 50),
      addedP50Ms: percentile(three, 50) - percentile(one, 50),
      addedP99Ms: percentile(three, 99) - percentile(one, 99),
      callsPerSecond,
      gatewayRssMb: await gateway.rssMb(),
      connectRssMb: await connect.rssMb(),
    });
  } finally {
    connect.child.kill();
    gateway.child.kill();
    await server.stop();
  }
}

function report(json: Record<string, number>): BenchResult {
  const ms = (key: string) => `${(json[key] ?? 0).toFixed(3)} ms`;
  const mb = (key: string) => `${(json[key] ?? 0).toFixed(0)} MB`;
  return {
    json,
    table: [
      ['direct call, p50', ms('directP50Ms')],
      ['through the gateway, p50', ms('gatewayP50Ms')],
      ['through connect and gateway, p50', ms('bothP50Ms')],
      ['added by both, p50 (budget 0.5 ms)', ms('addedP50Ms')],
      ['added by both, p99', ms('addedP99Ms')],
      ['through both, 16 at a time', `${(json['callsPerSecond'] ?? 0).toFixed(0)} calls/s`],
      ['gateway, resident', mb('gatewayRssMb')],
      ['connect, resident', mb('connectRssMb')],
    ],
  };
}

function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? 0;
}

interface RunningRole {
  readonly port: number;
  readonly child: ChildProcess;
  rssMb(): Promise<number>;
}

async function startRole(
  td: TrustDomainInMemory,
  role: Role['role'],
  upstream: string,
  port: number,
): Promise<RunningRole> {
  const child = fork(new URL('./mcp-role.ts', import.meta.url), { stdio: 'inherit' });
  const id = role === 'gateway' ? TOOLS : TRIAGE;
  child.send({
    role,
    upstream,
    server: 'everything',
    resources: resources(port),
    ...trust(td, td.svid(id)),
  } satisfies Role);
  const [told] = await once(child, 'message');
  return {
    port: told.port,
    child,
    async rssMb() {
      child.send('rss');
      const [{ rss }] = await once(child, 'message');
      return rss / 2 ** 20;
    },
  };
}

function trust(td: TrustDomainInMemory, svid: Svid) {
  const base64 = (der: Uint8Array) => Buffer.from(der).toString('base64');
  const { trustDomain, authorities } = td.bundle.current();
  const key = svid.key.export({ type: 'pkcs8', format: 'pem' }).toString();
  return {
    id: svid.id,
    chain: svid.chain.map(base64),
    key,
    trustDomain,
    authorities: authorities.map(base64),
  };
}

function resources(port: number): (McpServer | Access)[] {
  const address = `127.0.0.1:${port}`;
  return [
    McpServer.parse({ kind: 'McpServer', name: 'everything', identity: TOOLS, address }),
    Access.parse({
      kind: 'Access',
      name: 'triage',
      who: [TRIAGE],
      servers: ['everything'],
      tools: { allow: ['get-*', '/(echo|trigger)(-.*)?/'], deny: ['get-env'] },
    }),
  ];
}

/** A legacy session that calls echo. */
class Caller {
  readonly #request: typeof http.request;
  readonly #agent: http.Agent;
  readonly #port: number;
  #session = '';
  #id = 0;

  private constructor(request: typeof http.request, agent: http.Agent, port: number) {
    this.#request = request;
    this.#agent = agent;
    this.#port = port;
  }

  static async open(request: typeof http.request, agent: http.Agent, port: string | number): Promise<Caller> {
    const caller = new Caller(request, agent, Number(port));
    const params = {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'bench', version: '1' },
    };
    const { session } = await caller.#post({ jsonrpc: '2.0', id: 'first', method: 'initialize', params });
    caller.#session = session;
    await caller.#post({ jsonrpc: '2.0', method: 'notifications/initialized' });
    return caller;
  }

  async calls(count: number): Promise<number[]> {
    const times: number[] = [];
    for (let call = 0; call < count; call += 1) {
      const started = performance.now();
      await this.#echo();
      times.push(performance.now() - started);
    }
    return times;
  }

  /** Calls a second. */
  async flood(count: number, parallel: number): Promise<number> {
    const started = performance.now();
    await Promise.all(Array.from({ length: parallel }, () => this.calls(count / parallel)));
    return (count * 1000) / (performance.now() - started);
  }

  async #echo(): Promise<void> {
    this.#id += 1;
    const id = this.#id;
    const params = { name: 'echo', arguments: { message: `number ${id}` } };
    const { text } = await this.#post({ jsonrpc: '2.0', id, method: 'tools/call', params });
    if (!text.includes(`Echo: number ${id}`)) throw new Error(`another answer: ${text}`);
  }

  #post(message: object): Promise<{ text: string; session: string }> {
    const body = JSON.stringify(message);
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'content-length': Buffer.byteLength(body),
      ...(this.#session === ''
        ? {}
        : { 'mcp-session-id': this.#session, 'mcp-protocol-version': '2025-11-25' }),
    };
    const where = { host: '127.0.0.1', port: this.#port, path: '/mcp', method: 'POST', agent: this.#agent };
    return new Promise((resolve, reject) => {
      const outgoing = this.#request({ ...where, headers });
      outgoing.on('error', reject);
      outgoing.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () =>
          resolve({ text, session: String(response.headers['mcp-session-id'] ?? '') }),
        );
      });
      outgoing.end(body);
    });
  }
}

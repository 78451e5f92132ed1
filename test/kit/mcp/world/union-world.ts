/** Two servers behind one gateway, and a client of the union over stdio. */
import { PassThrough } from 'node:stream';
import type { JsonObject } from '@chancery/shared/ground/json.ts';
import { compilePolicy, type Policy } from '@chancery/shared/policy/policy.ts';
import { Access } from '@chancery/shared/policy/resources/access.ts';
import { McpServer } from '@chancery/shared/policy/resources/server.ts';
import { type FakeServer, reply, type Say, startFakeServer } from '../servers/server.ts';
import { connectTo, startWorld, TOOLS, TRIAGE, type World } from './world.ts';

export interface Scripted {
  readonly instructions?: string;
  /** By method: the results of requests. Of the lists, one page; the tools may be names. */
  readonly results?: Readonly<Record<string, JsonObject>>;
  /** Instead, for what it handles. */
  readonly odd?: (...seen: Parameters<Say>) => boolean;
}

const RESULTS: Readonly<Record<string, JsonObject>> = {
  'prompts/list': { prompts: [] },
  'resources/list': { resources: [] },
  'resources/templates/list': { resourceTemplates: [] },
};
export const tool = (name: string) => ({ name, inputSchema: { type: 'object' } });

/** A legacy server that answers as the script says; any other request with an empty result. */
export const scripted =
  ({ instructions, results = {}, odd }: Scripted): Say =>
  (seen, res, req) => {
    if (odd?.(seen, res, req) === true) return;
    const { method, json } = seen;
    if (method === 'GET') return void res.writeHead(405).end();
    if (method !== 'POST' || json.id === undefined || json.method === undefined)
      return void res.writeHead(202).end();
    const say = (result: object): void =>
      reply(res, { jsonrpc: '2.0', id: json.id, result }, { 'mcp-session-id': 's' });
    const result = results[json.method];
    if (json.method === 'server/discover') {
      const error = { code: -32601, message: 'Method not found' };
      return reply(res, { jsonrpc: '2.0', id: json.id, error });
    }
    if (json.method === 'initialize')
      return say({
        protocolVersion: '2025-11-25',
        capabilities: { tools: {}, prompts: {}, resources: {}, completions: {} },
        serverInfo: { name: 'scripted', version: '1' },
        ...(instructions === undefined ? {} : { instructions }),
      });
    if (json.method === 'tools/call' && result === undefined)
      return say({ content: [{ type: 'text', text: json.params.name }] });
    say(result ?? RESULTS[json.method] ?? {});
  };

export type Line = Readonly<Record<string, unknown>> & {
  readonly id?: number | string | null;
  readonly method?: string;
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it, and then asserts
  readonly result?: any;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown };
};

/** A client that writes messages and keeps what it is told. */
export class UnionClient {
  readonly input = new PassThrough();
  readonly output = new PassThrough();
  readonly told: Line[] = [];
  #last = 0;

  constructor() {
    let rest = '';
    this.output.on('data', (chunk) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      this.told.push(...lines.map((line) => JSON.parse(line)));
    });
  }

  write(message: object): void {
    this.input.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  }

  /** Sends a request and resolves with its answer. */
  async ask(method: string, params?: object): Promise<Line> {
    const id = ++this.#last;
    this.write({ id, method, params });
    for (;;) {
      const answer = this.told.find((each) => each.id === id && each.method === undefined);
      if (answer !== undefined) return answer;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async begin(): Promise<Line> {
    const clientInfo = { name: 'test', version: '1' };
    const params = { protocolVersion: '2025-11-25', capabilities: { elicitation: {} }, clientInfo };
    const answer = await this.ask('initialize', params);
    this.write({ method: 'notifications/initialized' });
    return answer;
  }

  /** The names that a list has. */
  async names(kind: 'tools' | 'prompts' | 'resources' = 'tools'): Promise<readonly string[]> {
    const { result } = await this.ask(`${kind}/list`);
    return result[kind].map((each: { name: string; uri: string }) =>
      kind === 'resources' ? each.uri : each.name,
    );
  }

  notes(method: string): number {
    return this.told.filter((each) => each.method === method).length;
  }
}

export interface UnionWorld {
  readonly world: World;
  readonly servers: Readonly<Record<'git' | 'mail', FakeServer>>;
  readonly client: UnionClient;
  /** Another client of the union, as `client` is. */
  join(findTools?: boolean): Promise<UnionClient>;
  /** Which servers the caller may reach. */
  reach(...names: readonly ('git' | 'mail')[]): void;
  close(): Promise<void>;
}

/** A policy by which the caller may reach these servers, and use all that they have. */
export function reachOf(world: World, names: readonly string[], version: bigint): Policy {
  const address = `127.0.0.1:${world.gateway.port}`;
  const named = names.map((name) => McpServer.parse({ kind: 'McpServer', name, identity: TOOLS, address }));
  const all = { allow: ['*'] };
  const asks = { elicitation: { ...all, modes: ['form', 'url'] } };
  const lists = { tools: all, prompts: all, resources: { allow: ['**'] }, subscriptions: { allow: ['**'] } };
  const rules = { ...lists, ...asks, completion: all, logging: 'debug' };
  const access = { kind: 'Access', name: 'triage', who: [TRIAGE], servers: names, ...rules };
  return compilePolicy([...named, Access.parse(access)], version);
}

/** The servers `git` and `mail`, whose names are all allowed. */
export async function startUnionWorld(git: Scripted, mail: Scripted): Promise<UnionWorld> {
  const servers = { git: await startFakeServer(), mail: await startFakeServer() };
  servers.git.say = scripted(git);
  servers.mail.say = scripted(mail);
  const freeText = { instructions: true, logs: true };
  const others = Object.entries(servers).map(([server, { target }]) => ({
    server,
    upstream: target,
    freeText,
  }));
  const world = await startWorld(servers.git.target, { others });
  let version = 10n;
  const reach = (...names: readonly string[]): void => {
    version += 1n;
    world.policy.publish(reachOf(world, names, version));
  };
  reach('git', 'mail');
  const connects: Awaited<ReturnType<typeof connectTo>>[] = [];
  const join = async (findTools = false): Promise<UnionClient> => {
    const client = new UnionClient();
    const { input, output } = client;
    connects.push(await connectTo(world, { kind: 'stdio', input, output }, { server: undefined, findTools }));
    return client;
  };
  const client = await join();
  return {
    world,
    servers,
    client,
    join,
    reach,
    async close() {
      await Promise.all(connects.map((each) => each.close()));
      await world.close();
      await Promise.all(Object.values(servers).map((each) => each.close()));
    },
  };
}

/** A CA, a gateway before the reference server, and an agent, as processes: for clients that are programs. */

import { userInfo } from 'node:os';
import { AGENT_MAIN, freePort, makeAgent, type Running, serveUnixCa } from '../../processes.ts';
import { everythingOverStdio } from '../servers/everything.ts';

const TRUST_DOMAIN = 'clients.example';
const id = (path: string): string => `spiffe://${TRUST_DOMAIN}/${path}`;
export const SERVER = 'everything';

/** What the clients may do: some tools, one resource, one prompt. */
const RULES = [
  {
    name: 'clients',
    tools: { allow: ['get-*'], deny: ['get-env'] },
    resources: { allow: ['demo://resource/static/document/features.md'] },
    prompts: { allow: ['simple-prompt'] },
  },
  // Clients see this tool in the list, and learn of the denial by calling it.
  { name: 'polite', tools: { allow: ['echo'] }, when: `args.message != 'forbidden'` },
];

export interface Programs {
  /** Of a connect that listens for this user's programs. */
  readonly url: string;
  /** What a client starts to speak MCP over standard input and output. */
  readonly command: readonly [string, ...string[]];
  /** Where the agent's config is. */
  readonly folder: string;
  /** What `mcp config` prints for this MCP client. */
  configOf(client: string): Promise<string>;
  close(): Promise<void>;
}

/** Keeps everything in `dir`. */
export async function startPrograms(dir: string): Promise<Programs> {
  if (everythingOverStdio.kind !== 'command') throw new Error('the reference server is not a command');
  const [gatewayAddress, port] = [`127.0.0.1:${await freePort()}`, await freePort()];
  const { ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [
    { kind: 'Identity', name: 'client', platform: 'unix', id: id('client') },
    { kind: 'Identity', name: 'tools', platform: 'unix', id: id('tools') },
    { kind: 'McpServer', name: SERVER, identity: id('tools'), address: gatewayAddress },
    ...RULES.map((rule) => ({ kind: 'Access', who: [id('client')], servers: [SERVER], ...rule })),
  ]);
  const upstream = { command: everythingOverStdio.command, user: userInfo().username };
  const evidence = { unix: {} };
  const gateway = { listen: gatewayAddress, server: SERVER, upstream };
  const server = makeAgent(ca, 'gateway', { evidence, id: id('tools'), gateway });
  const connect = [{ server: SERVER, listen: `127.0.0.1:${port}` }];
  const client = makeAgent(ca, 'client', { evidence, id: id('client'), connect });
  const running: Running[] = [serving, await server.run('gateway'), await client.run()];
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    command: [process.execPath, AGENT_MAIN, 'connect', SERVER, '--config', client.config],
    folder: client.dir,
    async configOf(name) {
      const printed = await client.cli('mcp', 'config', SERVER, '--client', name);
      if (printed.status !== 0) throw new Error(printed.stderr);
      return printed.stdout;
    },
    async close() {
      for (const each of running.toReversed()) await each.stop();
    },
  };
}

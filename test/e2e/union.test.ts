/** One entry of an MCP client for two real servers, of which each has its own gateway, and one goes down. */
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { everythingOverStdio, startEverything } from '../kit/mcp/servers/everything.ts';
import {
  AGENT_MAIN,
  freePort,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'union.example';
const id = (path: string): string => `spiffe://${TRUST_DOMAIN}/${path}`;
const NAMES = ['piped', 'served'] as const;
const WAIT = { timeout: 60_000, interval: 200 };
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

let dir: string;
let everything: Awaited<ReturnType<typeof startEverything>>;
let caller: ReturnType<typeof makeAgent>;
let gateways: ReturnType<typeof makeAgent>[];
let serving: Running | undefined;
const running: Running[] = [];
beforeAll(async () => {
  dir = makeFolder();
  everything = await startEverything();
  const addresses = await Promise.all(NAMES.map(async () => `127.0.0.1:${await freePort()}`));
  const { ca, serving: made } = await serveUnixCa(dir, TRUST_DOMAIN, [
    { kind: 'Identity', name: 'triage', platform: 'unix', id: id('triage') },
    ...NAMES.map((name) => ({ kind: 'Identity', name, platform: 'unix', id: id(name) })),
    ...NAMES.map((name, n) => ({ kind: 'McpServer', name, identity: id(name), address: addresses[n] })),
    { kind: 'Access', name: 'echo', who: [id('triage')], servers: [...NAMES], tools: { allow: ['echo'] } },
  ]);
  serving = made;
  const evidence = { unix: {} };
  const command = everythingOverStdio.kind === 'command' ? everythingOverStdio.command : [];
  const user = process.getuid?.() === 0 ? { user: 'root' } : {};
  const upstreams = [{ command, ...user }, { url: everything.url.href }];
  gateways = NAMES.map((server, n) =>
    makeAgent(ca, server, {
      evidence,
      id: id(server),
      gateway: { server, listen: addresses[n], upstream: upstreams[n] },
    }),
  );
  caller = makeAgent(ca, 'caller', { evidence, id: id('triage') });
  for (const each of gateways) running.push(await each.run('gateway'));
  running.push(await caller.run());
});
afterAll(async () => {
  for (const each of running.toReversed()) await each.stop();
  await serving?.stop();
  await everything.stop();
  removeFolder(dir);
});

test.each(['legacy', 'auto'] as const)(
  'a client (%s) uses both, and one while the other is down',
  async (mode) => {
    let changes = 0;
    const onChanged = (): void => {
      changes += 1;
    };
    const listChanged = { tools: { onChanged, autoRefresh: false } };
    const info = { name: 'test', version: '1' };
    const client = new Client(info, { versionNegotiation: { mode }, listChanged });
    const args = [AGENT_MAIN, 'connect', '--config', caller.config];
    await client.connect(new StdioClientTransport({ command: process.execPath, args, stderr: 'inherit' }));
    try {
      const names = async () => (await client.listTools()).tools.map(({ name }) => name);
      const echo = async (server: string) =>
        (await client.callTool({ name: `${server}__echo`, arguments: { message: server } })).content;
      const echoed = (server: string) => [{ type: 'text', text: `Echo: ${server}` }];
      await expect.poll(names, WAIT).toEqual(['piped__echo', 'served__echo']);
      for (const server of NAMES) expect(await echo(server)).toEqual(echoed(server));
      let before = changes;
      await running[1]?.stop();
      await expect.poll(() => changes, WAIT).toBeGreaterThan(before);
      await expect.poll(names, WAIT).toEqual(['piped__echo']);
      expect(await echo('piped')).toEqual(echoed('piped'));
      await expect(echo('served')).rejects.toThrow(/the MCP server served does not answer/);
      before = changes;
      running[1] = (await gateways[1]?.run('gateway')) as Running;
      await expect.poll(() => changes, WAIT).toBeGreaterThan(before);
      await expect.poll(names, WAIT).toEqual(['piped__echo', 'served__echo']);
      expect(await echo('served')).toEqual(echoed('served'));
    } finally {
      await client.close();
    }
  },
);

/** One gateway in front of two servers, and a caller whose rules let it reach one of them. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type FakeServer, startFakeServer } from '../kit/mcp/servers/server.ts';
import {
  freePort,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'servers.example';
const id = (path: string): string => `spiffe://${TRUST_DOMAIN}/${path}`;
const [CALLER, TOOLS] = [id('agents/triage'), id('tools')];
const NAMES = ['github', 'mail'];
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

function urlOf(server: FakeServer | undefined): string {
  if (server?.target.kind !== 'url') throw new Error('the server has no URL');
  return server.target.url.href;
}

let dir: string;
let servers: FakeServer[];
let running: Running[];
let ports: number[];
let agent: ReturnType<typeof makeAgent>;
beforeAll(async () => {
  dir = makeFolder();
  servers = [await startFakeServer(), await startFakeServer()];
  ports = [await freePort(), await freePort()];
  const address = `127.0.0.1:${await freePort()}`;
  const { ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [
    { kind: 'Identity', name: 'triage', platform: 'unix', id: CALLER },
    { kind: 'Identity', name: 'tools', platform: 'unix', id: TOOLS },
    ...NAMES.map((name) => ({ kind: 'McpServer', name, identity: TOOLS, address })),
    { kind: 'Access', name: 'agents', who: [CALLER], servers: ['github'], tools: { allow: ['*'] } },
    { kind: 'Access', name: 'others', who: [id('agents/other')], servers: ['mail'], tools: { allow: ['*'] } },
  ]);
  const evidence = { unix: {} };
  const behind = NAMES.map((server, n) => ({ server, upstream: { url: urlOf(servers[n]) } }));
  agent = makeAgent(ca, 'gateway', { evidence, id: TOOLS, gateway: { listen: address, servers: behind } });
  const connect = [{ server: 'github', listen: `127.0.0.1:${ports[0]}` }];
  const caller = makeAgent(ca, 'caller', { evidence, id: CALLER, connect });
  running = [serving, await agent.run('gateway'), await caller.run()];
});
afterAll(async () => {
  for (const each of running.toReversed()) await each.stop();
  for (const each of servers) await each.close();
  removeFolder(dir);
});

test('the caller reaches its server at an address where there are two', async () => {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } });
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const answer = await fetch(`http://127.0.0.1:${ports[0]}/mcp`, { method: 'POST', headers, body });
  expect(await answer.text()).toContain('"text":"echo"');
  expect(servers.map(({ seen }) => seen.length)).toEqual([1, 0]);
});

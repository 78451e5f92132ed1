/** A CA, a gateway and a caller in processes of their own, and calls from one to the other that never pause. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, vi } from 'vitest';
import { politely, startFakeServer } from '../mcp/servers/server.ts';
import {
  type AgentFolder,
  type CaFolder,
  freePort,
  makeAgent,
  type Running,
  serveUnixCa,
} from '../processes.ts';

/** Of the rotation, as `rotate status --json` has it. */
export interface Stood {
  readonly stage: string;
  readonly waits: readonly string[];
  readonly roots: readonly { readonly serial: string; readonly state: string }[];
}

export interface Unpaused {
  readonly ca: CaFolder;
  /** The CA that runs; a test that restarts it says so here. */
  serving: Running;
  readonly folders: Readonly<Record<'gateway' | 'caller', AgentFolder>>;
  readonly agents: readonly Running[];
  readonly calls: { answered: number; readonly failed: string[] };
  rotate(...args: readonly string[]): ReturnType<CaFolder['cli']>;
  status(): Promise<Stood>;
  /** Log lines of the agents that say so. */
  failedRenewals(): readonly string[];
  stop(): Promise<void>;
}

/** What a test needs besides. */
export interface Besides {
  /** Of the CA. */
  readonly config?: object;
  readonly resources?: readonly object[];
}

/** `ttl` is that of both agents' certificates; each has `svid.pem` and `bundle.pem` in its folder's `out`. */
export async function startUnpaused(
  dir: string,
  trustDomain: string,
  ttl: string,
  { config = {}, resources = [] }: Besides = {},
): Promise<Unpaused> {
  const [CALLER, TOOLS] = [`spiffe://${trustDomain}/caller`, `spiffe://${trustDomain}/tools`];
  const [port, local] = [await freePort(), await freePort()];
  const identity = (name: string, id: string) => ({
    ...{ kind: 'Identity', name, platform: 'unix', id },
    x509: { ttl },
  });
  const own = [
    identity('caller', CALLER),
    identity('tools', TOOLS),
    { kind: 'McpServer', name: 'echo', identity: TOOLS, address: `127.0.0.1:${port}` },
    { kind: 'Access', name: 'all', who: [CALLER], servers: ['echo'], tools: { allow: ['*'] } },
  ];
  const { ca, serving } = await serveUnixCa(dir, trustDomain, [...own, ...resources], config);
  const server = await startFakeServer();
  server.say = politely;
  const { target } = server;
  if (target.kind !== 'url') throw new Error('the server has no URL');
  const common = { evidence: { unix: {} }, outputs: [{ dir: 'out' }] };
  const gateway = { server: 'echo', listen: `127.0.0.1:${port}`, upstream: { url: target.url.href } };
  const connect = [{ server: 'echo', listen: `127.0.0.1:${local}` }];
  const folders = {
    gateway: makeAgent(ca, 'gateway', { ...common, id: TOOLS, gateway }),
    caller: makeAgent(ca, 'caller', { ...common, id: CALLER, connect }),
  };
  const agents = [await folders.gateway.run('gateway'), await folders.caller.run()];
  await vi.waitFor(async () => expect(await call(local)).toContain('"result"'));
  const calling = callOnAndOn(local);
  const rotate = (...args: readonly string[]) => ca.cli('rotate', ...args);
  const world: Unpaused = {
    ...{ ca, serving, folders, agents, rotate },
    calls: calling.calls,
    status: async () => JSON.parse((await rotate('status', '--json')).stdout) as Stood,
    failedRenewals: () =>
      agents.flatMap(({ log }) => log().split('\n')).filter((line) => line.includes('could not be renewed')),
    stop: async () => {
      await calling.stop();
      for (const agent of agents) await agent.stop();
      await world.serving.stop();
      await server.close();
    },
  };
  return world;
}

async function call(port: number): Promise<string> {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } });
  const answer = await fetch(`http://127.0.0.1:${port}/mcp`, { method: 'POST', headers, body });
  return answer.text();
}

function callOnAndOn(port: number) {
  const calls = { answered: 0, failed: [] as string[] };
  let isOver = false;
  const caller = async (): Promise<void> => {
    while (!isOver) {
      const text = await call(port).catch((error: unknown) => String(error));
      if (text.includes('"result"')) calls.answered += 1;
      else calls.failed.push(text);
      await sleep(5);
    }
  };
  const load = Promise.all([caller(), caller()]);
  const stop = async (): Promise<void> => {
    isOver = true;
    await load;
  };
  return { calls, stop };
}

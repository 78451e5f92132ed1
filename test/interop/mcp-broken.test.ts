/** What the official clients say of a call whose gateway goes: they get an error, and need no timeout of their own. */
import { Client as ClientV2, StreamableHTTPClientTransport as HttpV2 } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { expect, test } from 'vitest';
import { everythingOverStdio, startEverything } from '../kit/mcp/servers/everything.ts';
import { connectTo, startWorld } from '../kit/mcp/world/world.ts';

interface Calls {
  callTool(call: object, ...rest: readonly unknown[]): Promise<unknown>;
  close(): Promise<void>;
}

const v1 = async (url: URL): Promise<Calls> => {
  const client = new ClientV1({ name: 'v1', version: '1' });
  await client.connect(new HttpV1(url) as Parameters<typeof client.connect>[0]);
  return client;
};
const v2 = async (url: URL): Promise<Calls> => {
  const client = new ClientV2({ name: 'v2', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(new HttpV2(url));
  return client;
};

const CLIENTS = { v1, v2 };
const SERVERS = {
  'over HTTP': async () => {
    const { url, stop } = await startEverything();
    return { target: { kind: 'url', url } as const, stop };
  },
  'over stdio': async () => ({ target: everythingOverStdio, stop: async () => {} }),
} as const;

/** With progress the answer is a stream that has begun. */
const CALL = {
  name: 'trigger-long-running-operation',
  arguments: { duration: 600, steps: 6_000 },
};

test.each([
  ['v1', 'over HTTP'],
  ['v1', 'over stdio'],
  ['v2', 'over HTTP'],
  ['v2', 'over stdio'],
] as const)('a call of the %s client fails when its gateway goes, with a server %s', async (name, which) => {
  const { target, stop } = await SERVERS[which]();
  const world = await startWorld(target);
  const connect = await connectTo(world, { kind: 'tcp', port: 0 });
  const client = await CLIENTS[name](new URL(`http://127.0.0.1:${connect.port}/mcp`));
  const seen: unknown[] = [];
  const options = { onprogress: (progress: unknown) => void seen.push(progress), timeout: 600_000 };
  // The v1 client takes a schema before its options.
  const rest = name === 'v1' ? [undefined, options] : [options];
  const failed = client.callTool(CALL, ...rest).catch((error: unknown) => error);
  await expect.poll(() => seen.length, { timeout: 30_000 }).toBeGreaterThan(0);
  await world.close();
  expect(await failed).toMatchObject({
    code: -31502,
    message: expect.stringMatching(/gateway.*the MCP server may have done what was asked$/),
  });
  await client.close();
  await connect.close();
  await stop();
});

/** Official clients as users have them: progress of two at once, and a server that closes the stream of a call. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { expect, test } from 'vitest';
import { stdioClient } from '../kit/mcp/clients/stdio-client.ts';
import { startLegacyConformance } from '../kit/mcp/servers/conformance-server.ts';
import { everythingOverStdio } from '../kit/mcp/servers/everything.ts';
import { connectTo, startWorld } from '../kit/mcp/world/world.ts';

async function client(transport: Transport): Promise<Client> {
  const made = new Client({ name: 'v1', version: '1' });
  await made.connect(transport);
  return made;
}

test('two clients of one stdio server, which both count their progress tokens from 0, see each their own', async () => {
  const world = await startWorld(everythingOverStdio);
  const connect = await connectTo(world, { kind: 'tcp', port: 0 });
  const url = new URL(`http://127.0.0.1:${connect.port}/mcp`);
  const clients = await Promise.all(
    [3, 5].map(async (steps) => {
      const made = await client(new StreamableHTTPClientTransport(url) as Transport);
      const seen: (number | undefined)[][] = [];
      const call = { name: 'trigger-long-running-operation', arguments: { duration: 0.3, steps } };
      const onprogress = ({ progress, total }: { progress: number; total?: number | undefined }) =>
        void seen.push([progress, total]);
      return { made, steps, seen, call: () => made.callTool(call, undefined, { onprogress }) };
    }),
  );
  await Promise.all(clients.map(({ call }) => call()));
  for (const { steps, seen, made } of clients) {
    expect(seen).toEqual(Array.from({ length: steps }, (_, index) => [index + 1, steps]));
    await made.close();
  }
  await connect.close();
  await world.close();
});

test('the answer of a call whose stream the server closes comes to a client of stdio', async () => {
  const server = await startLegacyConformance();
  const world = await startWorld({ kind: 'url', url: server.url });
  const { transport, input, output } = stdioClient();
  const connect = await connectTo(world, { kind: 'stdio', input, output });
  const made = await client(transport);
  const { content } = await made.callTool({ name: 'test_reconnection' });
  expect(content).toEqual([{ type: 'text', text: 'done after reconnecting' }]);
  await made.close();
  await connect.close();
  await world.close();
  await server.stop();
});

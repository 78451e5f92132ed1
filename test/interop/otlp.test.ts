/** One trace from a client to the server: connect and gateway, read by OTLP's own published .proto files. */
import { openTelemetry } from '@chancery/agent/telemetry/otlp.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { expect, test } from 'vitest';
import { callOf, INITIALIZE, MODERN_META, modernHeaders } from '../kit/mcp/clients/caller.ts';
import { stdioClient } from '../kit/mcp/clients/stdio-client.ts';
import { startFakeServer } from '../kit/mcp/servers/server.ts';
import { connectTo, startWorld } from '../kit/mcp/world/world.ts';
import { startCollector } from '../kit/otlp/collector.ts';

const [TRACE, SPAN] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7'];
const meta = { traceparent: `00-${TRACE}-${SPAN}-01` };

async function traced(use: (connected: ReturnType<typeof connectionsOf>) => Promise<void>) {
  const [collector, server] = [await startCollector(), await startFakeServer()];
  const of = (service: string) => {
    const where = { traces: `${collector.url}/v1/traces`, metrics: `${collector.url}/v1/metrics` };
    return openTelemetry({ ...where, sample: 1, interval: 3600, service, attributes: 'a=b' }, '1', silentLog);
  };
  const both = [of('gateway'), of('connect')] as const;
  const world = await startWorld(server.target, { spans: both[0].spans('server') });
  try {
    await use(connectionsOf(world, both[1].spans('client')));
  } finally {
    await world.close();
    for (const each of both) await each.close();
    await server.close();
    await collector.close();
  }
  return { ...collector, server };
}

const connectionsOf = (
  world: Awaited<ReturnType<typeof startWorld>>,
  spans: NonNullable<Parameters<typeof connectTo>[2]>['spans'],
) => ({
  to: (local: Parameters<typeof connectTo>[1]) => connectTo(world, local, { spans }),
});

/** The chain of one call: the client's span, connect's, the gateway's, and what the server was told. */
function chainOf({ spans, server }: Awaited<ReturnType<typeof traced>>) {
  const calls = spans.filter(({ attributes }) => attributes['mcp.method.name'] === 'tools/call');
  const [connect, gateway] = ['connect', 'gateway'].map((name) =>
    calls.find(({ service }) => service === name),
  );
  const told = server.seen.find(({ json }) => json?.method === 'tools/call')?.json.params._meta[
    'traceparent'
  ];
  expect(calls).toHaveLength(2);
  expect(connect).toMatchObject({
    kind: 'SPAN_KIND_CLIENT',
    traceId: TRACE,
    parentSpanId: SPAN,
    failed: false,
  });
  expect(gateway).toMatchObject({
    ...{ kind: 'SPAN_KIND_SERVER', name: 'tools/call echo', traceId: TRACE, parentSpanId: connect?.spanId },
    attributes: {
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': 'echo',
      'chancery.decision': 'allowed',
      'chancery.caller': 'spiffe://prod.example/agents/triage',
    },
  });
  expect(told).toBe(`00-${TRACE}-${gateway?.spanId}-01`);
}

test('a stdio client of the legacy era', async () => {
  const got = await traced(async ({ to }) => {
    const { transport, input, output } = stdioClient();
    const connect = await to({ kind: 'stdio', input, output });
    const answers: unknown[] = [];
    transport.onmessage = (message) => void answers.push(message);
    await transport.start();
    for (const line of [INITIALIZE, callOf(1, 'echo', { _meta: meta })]) input.write(`${line}\n`);
    await expect.poll(() => answers.length, { timeout: 20_000 }).toBe(2);
    input.end();
    await connect.done;
  });
  chainOf(got);
  expect(got.durations.map(({ name, service, unit }) => [name, service, unit]).toSorted()).toEqual([
    ['mcp.client.operation.duration', 'connect', 's'],
    ['mcp.server.operation.duration', 'gateway', 's'],
  ]);
  for (const { bounds } of got.durations) expect(bounds).toHaveLength(14);
});

test('an HTTP client of the modern era', async () => {
  chainOf(
    await traced(async ({ to }) => {
      const connect = await to({ kind: 'tcp', port: 0 });
      const answer = await fetch(`http://127.0.0.1:${connect.port}/mcp`, {
        method: 'POST',
        headers: {
          ...{ 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
          ...modernHeaders('tools/call', 'echo'),
        },
        body: callOf(1, 'echo', { _meta: { ...MODERN_META, ...meta } }),
      });
      expect(await answer.json()).toMatchObject({ result: { content: [{ text: 'echo' }] } });
      await connect.close();
    }),
  );
});

/** Telemetry that callers, servers and collectors try to misuse: rows M213 to M217. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { OpenSpan } from '@chancery/agent/mcp/spans.ts';
import type { UpstreamTarget } from '@chancery/agent/mcp/upstream/upstream.ts';
import { openTelemetry, type Telemetry } from '@chancery/agent/telemetry/otlp.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { callerOf, callOf, MODERN_META, modernHeaders, rpc } from '../../kit/mcp/clients/caller.ts';
import { type FakeServer, politely, reply, startFakeServer } from '../../kit/mcp/servers/server.ts';
import { startWorld, type World, type WorldOptions } from '../../kit/mcp/world/world.ts';
import { type Collector, startCollector } from '../../kit/otlp/collector.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';
const TRACEPARENT = `00-${TRACE}-${SPAN}-01`;

let server: FakeServer;
let world: World | undefined;
let collector: Collector | undefined;
let telemetry: Telemetry | undefined;
beforeEach(async () => {
  server = await startFakeServer();
});
afterEach(async () => {
  await world?.close();
  await telemetry?.close();
  await collector?.close();
  await server.close();
  [world, collector, telemetry] = [undefined, undefined, undefined];
});
const { post } = callerOf(() => world as World);

async function open(options: WorldOptions = {}, take?: Parameters<typeof startCollector>[0]): Promise<void> {
  collector = await startCollector(take);
  const { url } = collector;
  const where = { traces: `${url}/v1/traces`, metrics: `${url}/v1/metrics` };
  const settings = { ...where, sample: 1, interval: 3600, service: 'gateway', attributes: undefined };
  telemetry = openTelemetry(settings, '1', silentLog);
  const target: UpstreamTarget = server.target;
  world = await startWorld(target, { spans: telemetry.spans('server'), ...options });
}

/** Ends both, so that all that was measured is at the collector. */
async function exported(): Promise<Collector> {
  await world?.close();
  await telemetry?.close();
  return collector as Collector;
}

const call = (id: number, name = 'echo', meta: object = {}, more: object = {}): ReturnType<typeof post> =>
  post(callOf(id, name, { _meta: { ...MODERN_META, ...meta }, ...more }), modernHeaders('tools/call', name));
const forwarded = (): Readonly<Record<string, unknown>> => server.seen.at(-1)?.json.params._meta ?? {};

describe('M213 names that a caller invents', () => {
  test('are no series of a metric, and no name of a span', async () => {
    await open({ tools: { allow: ['*'], deny: ['denied-*'] } });
    server.say = (seen, res, req) => {
      const { name } = seen.json.params;
      if (name === 'echo') return politely(seen, res, req);
      const content = [{ type: 'text', text: 'no such tool' }];
      return reply(res, { jsonrpc: '2.0', id: seen.json.id, result: { content, isError: true } });
    };
    for (let n = 0; n < 20; n += 1) {
      await call(3 * n, `allowed-${n}`);
      await call(3 * n + 1, `denied-${n}`);
      await post(rpc(`invented/${n}`, {}, 3 * n + 2));
    }
    await call(99);
    const { durations, spans } = await exported();
    const points = durations.flatMap((each) => each.points);
    expect(points.reduce((sum, { count }) => sum + count, 0)).toBe(61);
    expect(new Set(points.map(({ attributes }) => attributes['gen_ai.tool.name']))).toEqual(
      new Set([undefined, 'echo']),
    );
    expect(points.length).toBeLessThanOrEqual(4);
    const names = spans.map(({ name }) => name).filter((name) => /denied|invented/.test(name));
    expect([spans.length, names]).toEqual([61, []]);
  });
});

describe('M214 a trace that a caller claims', () => {
  const SPOILED: readonly [string, unknown, string?][] = [
    ['no trace', `00-${'0'.repeat(32)}-${SPAN}-01`],
    ['no span', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['the version that is forbidden', `ff-${TRACE}-${SPAN}-01`],
    ['capital letters', TRACEPARENT.toUpperCase()],
    ['a part too much', `${TRACEPARENT}-01`],
    ['a trace that is too short', `00-${TRACE.slice(1)}-${SPAN}-01`],
    ['a number', 7],
    ['a line that is very long', `00-${TRACE}-${SPAN}-01${' '.repeat(10_000)}`],
  ];

  test.each(SPOILED)('%s begins a new trace', async (_, traceparent) => {
    await open();
    expect((await call(1, 'echo', { traceparent, tracestate: 'a=b' })).status).toBe(200);
    const { spans } = await exported();
    expect(spans).toHaveLength(1);
    const [span] = spans;
    expect([span?.parentSpanId, span?.traceId === TRACE, span?.traceState]).toEqual(['', false, '']);
    expect(forwarded()).toMatchObject({ traceparent: `00-${span?.traceId}-${span?.spanId}-01` });
    expect(forwarded()).not.toHaveProperty('tracestate');
  });

  test('that is genuine has the gateway as its child, and the server as the child of that', async () => {
    await open();
    await call(1, 'echo', { traceparent: TRACEPARENT, tracestate: 'a=b' });
    const { spans } = await exported();
    expect(spans).toMatchObject([{ traceId: TRACE, parentSpanId: SPAN, traceState: 'a=b' }]);
    const own = `00-${TRACE}-${spans[0]?.spanId}-01`;
    expect(forwarded()).toMatchObject({ traceparent: own, tracestate: 'a=b' });
    expect(server.seen.at(-1)?.headers).toMatchObject({ traceparent: own, tracestate: 'a=b' });
  });

  test('with a state that is too long is without it', async () => {
    await open();
    const tracestate = Array.from({ length: 31 }, (_, n) => `k${10 + n}=${'v'.repeat(12)}`).join(',');
    await call(1, 'echo', { traceparent: TRACEPARENT, tracestate });
    expect((await exported()).spans).toMatchObject([{ traceId: TRACE, traceState: '' }]);
    expect(forwarded()).not.toHaveProperty('tracestate');
  });

  test('in a text is left for the server to refuse', async () => {
    await open();
    await post(rpc('ping', { _meta: 'x' }, 1));
    for (const { text } of server.seen) expect(text).not.toContain('traceparent');
  });
});

test('M215 arguments, results, errors, secrets in names and queries of URIs are in no span', async () => {
  await open({ rules: { logging: 'debug', resources: { allow: ['*'] } } });
  const token = `ghp_${'a1B2'.repeat(9)}`;
  server.say = (seen, res, req) => {
    if (seen.json.params.name !== 'fails') return politely(seen, res, req);
    const error = { code: -32000, message: `SECRET-OF-ERROR ${token}` };
    return reply(res, { jsonrpc: '2.0', id: seen.json.id, error });
  };
  await call(1, 'echo', {}, { arguments: { key: 'SECRET-OF-ARGUMENT' } });
  await call(2, 'fails');
  await call(3, token);
  const uri = 'https://who:SECRET-OF-USER@host.example/path?key=SECRET-OF-QUERY#SECRET-OF-FRAGMENT';
  await post(rpc('resources/read', { uri, _meta: MODERN_META }, 4), modernHeaders('resources/read', uri));
  const { bodies, spans } = await exported();
  expect(spans.map(({ attributes }) => attributes['error.type'])).toEqual([
    ...[undefined, '-32000', undefined, 'denied'],
  ]);
  expect(spans[2]?.attributes['gen_ai.tool.name']).toBe('[masked: GitHub token]');
  expect(spans[3]?.attributes['mcp.resource.uri']).toBe('https://host.example/path');
  const wire = Buffer.concat(bodies).toString('latin1');
  for (const secret of ['SECRET', token, 'echo: ']) expect(wire).not.toContain(secret);
});

describe('M216 a collector', () => {
  const BAD: readonly [string, Parameters<typeof startCollector>[0]][] = [
    ['that never answers', () => {}],
    ['that ends each connection', (req) => void req.destroy()],
    ['that always fails', (_req, res) => void res.writeHead(503).end()],
    [
      'whose answer has no end',
      (_req, res) => {
        res.writeHead(200);
        const timer = setInterval(() => res.write('x'), 10);
        res.once('close', () => clearInterval(timer));
      },
    ],
  ];

  test.each(BAD)('%s costs no call, and no end', { timeout: 60_000 }, async (_, take) => {
    await open({}, take);
    // More than one batch, so that an export is under way.
    for (let n = 0; n < 150; n += 30) await Promise.all(Array.from({ length: 30 }, (_, m) => call(n + m)));
    expect(server.seen).toHaveLength(150);
    await world?.close();
    const began = performance.now();
    await telemetry?.close();
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  test('that takes nothing costs no more memory than the queue', { timeout: 60_000 }, async () => {
    await open({}, () => {});
    const spans = telemetry?.spans('server');
    const begun = (): OpenSpan | undefined =>
      spans?.begin({
        server: 'everything',
        message: { kind: 'request', id: 1, method: 'tools/call', params: { name: 'x'.repeat(1_000) } },
      });
    const one = async (): Promise<void> => {
      for (let n = 0; n < 20_000; n += 1) {
        begun()?.end({});
        if (n % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    };
    await one();
    const before = held();
    for (let n = 0; n < 2; n += 1) await one();
    expect(held() - before).toBeLessThan(16 * 1024 * 1024);
  });
});

/** Bytes that are still in use. */
function held(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

test('M217 a caller that has its trace not exported is on record like any other', async () => {
  await open();
  await call(1, 'echo', { traceparent: `00-${TRACE}-${SPAN}-00` });
  const records = world?.events ?? [];
  expect(records).toMatchObject([
    { stage: 'decided', tool: 'echo', allow: true, traceparent: `00-${TRACE}-${SPAN}-00` },
    { stage: 'answered', outcome: 'result' },
  ]);
  expect(forwarded()['traceparent']).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`));
  const { spans, durations } = await exported();
  expect(spans).toEqual([]);
  expect(durations).toMatchObject([{ name: 'mcp.server.operation.duration', points: [{ count: 1 }] }]);
});

import { Registry } from 'prom-client';
import { beforeEach, expect, test } from 'vitest';
import { NOW } from '../../../test/kit/certificates.ts';
import type { CallEvent } from '../mcp/call-event.ts';
import { addCallMetrics, type OpenSessions } from './call-metrics.ts';

let registry: Registry;
let open: OpenSessions[];
let count: (event: CallEvent) => void;
beforeEach(() => {
  registry = new Registry();
  open = [];
  count = addCallMetrics(() => open, [registry]);
});

const record = (more: Partial<CallEvent>): void =>
  count({
    ...{ id: '1', stage: 'decided', time: NOW, from: 'client', caller: undefined, serial: undefined },
    server: 's',
    ...more,
  });
const lines = async (): Promise<readonly string[]> =>
  (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));

test('decisions are counted by server, answer and kind', async () => {
  record({ allow: true, method: 'tools/call', tool: 'echo' });
  record({ allow: true, method: 'tools/list', server: 't' });
  record({ allow: true, observed: true, method: 'tools/call' });
  record({ allow: false, method: 'resources/read', count: 7 });
  record({ allow: true, httpMethod: 'GET' });
  record({ stage: 'refused', method: 'tools/call' });
  expect(await lines()).toEqual([
    'chancery_gateway_decisions_total{server="s",decision="allowed",kind="tools"} 1',
    'chancery_gateway_decisions_total{server="t",decision="allowed",kind="tools"} 1',
    'chancery_gateway_decisions_total{server="s",decision="observed",kind="tools"} 1',
    'chancery_gateway_decisions_total{server="s",decision="denied",kind="resources"} 7',
    'chancery_gateway_decisions_total{server="s",decision="allowed",kind="stream"} 1',
  ]);
});

test('methods and names that a caller invents make no series', async () => {
  for (let n = 0; n < 1_000; n += 1) {
    const invented = { method: `x${n}/${n}`, tool: `tool-${n}`, caller: undefined } as const;
    record({ allow: false, ...invented });
    record({ stage: 'answered', outcome: 'error', latencyMs: 1, ...invented });
  }
  record({ allow: false, method: 'constructor/x' });
  const [decisions, ...rest] = await lines();
  expect(decisions).toBe('chancery_gateway_decisions_total{server="s",decision="denied",kind="other"} 1001');
  expect(rest).toHaveLength(17);
  expect(rest.at(-1)).toBe(
    'chancery_gateway_call_seconds_count{server="s",kind="other",outcome="error"} 1000',
  );
});

test('durations are in seconds, by outcome', async () => {
  record({ stage: 'answered', method: 'tools/call', outcome: 'unknown', latencyMs: 1_500 });
  const measured = await lines();
  const of = (name: string, le = '') =>
    `chancery_gateway_call_seconds_${name}{${le}server="s",kind="tools",outcome="unknown"}`;
  for (const line of [
    `${of('bucket', 'le="1",')} 0`,
    `${of('bucket', 'le="2",')} 1`,
    `${of('sum')} 1.5`,
    `${of('count')} 1`,
  ])
    expect(measured).toContain(line);
});

test('sessions are asked for at each scrape', async () => {
  open = [{ server: 's', sessions: 2 }];
  expect(await lines()).toEqual(['chancery_gateway_sessions{server="s"} 2']);
  open = [{ server: 's', sessions: 0 }];
  expect(await lines()).toEqual(['chancery_gateway_sessions{server="s"} 0']);
});

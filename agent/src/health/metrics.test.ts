import { expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import type { CallEvent } from '../mcp/call-event.ts';
import type { StatusReport } from '../workload/local-messages.ts';
import { createAgentMetrics } from './metrics.ts';

const status: StatusReport = {
  version: '1',
  spiffeId: 'spiffe://prod.example/web',
  serial: '01',
  notAfter: after(90).toISOString(),
  renewAfter: after(45).toISOString(),
  expired: false,
  renewalFailure: 'the CA does not answer',
  revoked: null,
  trustStream: { up: false, since: after(0).toISOString(), failure: 'none' },
  skewSeconds: -3,
  policyVersion: 1,
  servers: [],
  gateway: null,
  connect: [],
  outputs: [
    { dir: 'a', failure: 'disk full' },
    { dir: 'b', failure: null },
  ],
  problems: ['a', 'b'],
};
const event = (more: Partial<CallEvent>): CallEvent => ({
  id: '1',
  stage: 'decided',
  time: NOW,
  from: 'client',
  caller: undefined,
  serial: undefined,
  server: 's',
  ...more,
});

test('the state is measured when it is asked for, and records are counted by their outcome', async () => {
  let report = status;
  const metrics = createAgentMetrics(
    () => report,
    () => NOW,
    {
      staleIn: () => 42,
      spool: () => ({ depth: 3, bytes: 99, oldestSeconds: 2, acknowledged: 7, lost: 1 }),
      observing: () => 2,
      sessions: () => [{ server: 's', sessions: 4 }],
      silent: () => 3.5,
    },
  );
  metrics.rotated();
  for (const more of [
    { allow: true },
    { allow: true, observed: true },
    { allow: false },
    { allow: false, count: 5 },
    { stage: 'answered', outcome: 'result' },
    { stage: 'refused' },
  ] as const)
    metrics.call(event(more));
  const lines = (await metrics.text()).split('\n');
  for (const line of [
    'chancery_gateway_records_total{outcome="allowed"} 1',
    'chancery_gateway_records_total{outcome="observed"} 1',
    'chancery_gateway_records_total{outcome="denied"} 6',
    'chancery_gateway_observing 2',
    'chancery_gateway_sessions{server="s"} 4',
    'chancery_trust_silent_seconds 3.5',
    'chancery_gateway_records_total{outcome="result"} 1',
    'chancery_gateway_records_total{outcome="refused"} 1',
    'chancery_svid_rotations_total 1',
    'chancery_gateway_stale_in_seconds 42',
    'chancery_spool_records 3',
    'chancery_spool_oldest_seconds 2',
    'chancery_spool_acknowledged_total 7',
    'chancery_spool_lost_total 1',
    'chancery_svid_expiry_seconds 90',
    'chancery_svid_renewal_failing 1',
    'chancery_trust_stream_up 0',
    'chancery_clock_skew_seconds -3',
    'chancery_outputs_failing 1',
    'chancery_problems 2',
  ])
    expect(lines).toContain(line);
  report = { ...status, trustStream: null, skewSeconds: null };
  expect(await metrics.text()).not.toMatch(/^chancery_(trust_stream_up|clock_skew_seconds) \d/m);
});

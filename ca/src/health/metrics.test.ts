import { expect, test } from 'vitest';
import { after, NOW } from '../../../test/kit/certificates.ts';
import { createMetrics } from './metrics.ts';

test('metrics are counted by short lists of labels, and measured when they are asked for', async () => {
  const metrics = createMetrics({
    authorities: () => [
      { state: 'active', kind: 'root', serial: '40aa', notAfter: after(60), crossUntil: after(20) },
      { state: 'active', kind: 'intermediate', serial: '40bb', notAfter: after(60) },
    ],
    requests: () => [],
    rotation: async () => ({ stage: 'published', stragglers: 4, certificates: 6 }),
    jwtRotation: async () => ({ stage: 'retiring', stragglers: 0, certificates: 0 }),
    connectedAgents: () => 7,
    unacknowledgedAgents: () => ({ policy: 2 }),
    openExchanges: () => 3,
    freeBytes: async () => 4096,
    heldReports: () => ({ disk: 2, share: 0 }),
    storeWaitSeconds: () => 1.5,
    openConnections: () => ({ strangers: 2 }),
    revocations: () => 5,
    revocationLists: () => [{ kind: 'root', serial: '40aa', nextUpdate: after(30), entries: { count: 4 } }],
    isLogFailing: () => true,
    uncopiedSeconds: () => 90,
    isCopyFailing: () => true,
    prunedEntries: () => undefined,
    nextPruningAt: () => undefined,
    startGapSeconds: () => 270_000,
    isHeld: () => true,
    now: () => NOW,
  });
  metrics.outcome('tpm', 'issued');
  metrics.outcome('tpm', 'issued');
  metrics.observe('Attest', 0.003, 'ok');
  metrics.eventsLost(3);
  metrics.turnedAway({ what: 'calls', whose: 'strangers' });
  const body = await metrics.text();
  expect(metrics.contentType).toMatch(/^text\/plain; version=/);
  const lines = body.split('\n');
  for (const line of [
    'chancery_issuances_total{platform="tpm",outcome="issued"} 2',
    'chancery_rpc_duration_seconds_bucket{le="0.0025",rpc="Attest",outcome="ok"} 0',
    'chancery_rpc_duration_seconds_bucket{le="0.005",rpc="Attest",outcome="ok"} 1',
    'chancery_authority_expiry_seconds{kind="root",serial="40aa"} 60',
    'chancery_cross_certificate_expiry_seconds{serial="40aa"} 20',
    'chancery_root_state{serial="40aa",state="active"} 1',
    'chancery_rotation_stage{kind="root",stage="published"} 1',
    'chancery_rotation_stage{kind="root",stage="idle"} 0',
    'chancery_rotation_stage{kind="jwt",stage="retiring"} 1',
    'chancery_rotation_waits_for{kind="root",what="agents"} 4',
    'chancery_rotation_waits_for{kind="jwt",what="agents"} 0',
    'chancery_rotation_waits_for{kind="root",what="certificates"} 6',
    'chancery_connected_agents 7',
    'chancery_unacknowledged_agents{part="policy"} 2',
    'chancery_open_exchanges 3',
    'chancery_disk_free_bytes 4096',
    'chancery_reports_held_total{why="disk"} 2',
    'chancery_reports_held_total{why="share"} 0',
    'chancery_store_wait_seconds 1.5',
    'chancery_open_connections{share="strangers"} 2',
    'chancery_revocations 5',
    'chancery_crl_expiry_seconds{kind="root",serial="40aa"} 30',
    'chancery_crl_entries{kind="root",serial="40aa"} 4',
    'chancery_audit_events_lost_total 3',
    'chancery_audit_log_failing 1',
    'chancery_checkpoint_uncopied_seconds 90',
    'chancery_checkpoint_copy_failing 1',
    'chancery_start_gap_seconds 270000',
    'chancery_issuing_held 1',
    'chancery_turned_away_total{what="calls",whose="strangers"} 1',
  ])
    expect(lines).toContain(line);
  expect(lines.filter((line) => line.startsWith('chancery_audit_pruned_entries'))).toEqual([]);
  expect(lines.filter((each) => each.startsWith('chancery_cross_'))).toHaveLength(1);
  expect(body).toMatch(/^process_resident_memory_bytes \d+/m);
});

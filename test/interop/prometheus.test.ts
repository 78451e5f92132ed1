/** Prometheus' own promtool judges our alert rules, each by series at which it fires and at which it is silent. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { freePort, makeAgent, makeFolder, removeFolder, root, serveUnixCa } from '../kit/processes.ts';

const RULES = join(root, 'deploy/prometheus/rules.yaml');
const { status } = spawnSync('promtool', ['--version']);
const missing = status === 0 ? undefined : 'promtool is not here (Debian: prometheus)';

/** Series by selector: what Prometheus scrapes once a minute, in its notation `start+step x times`. */
type Series = Readonly<Record<string, string>>;
interface Row {
  readonly fires: Series;
  readonly silent: Series;
  /** Minutes after which both are looked at. */
  readonly after: number;
  /** Minutes between two values, 1 if undefined. */
  readonly step?: number;
}

const DOMAIN = 'metrics.example';
const ID = `spiffe://${DOMAIN}/w`;
const DAY = 1440;
const always = (metric: string, fires: number, silent: number, after: number): Row => ({
  fires: { [metric]: `${fires}x${DAY}` },
  silent: { [metric]: `${silent}x${DAY}` },
  after,
});
const stages = (stage: string, agents: number): Series => ({
  [`chancery_rotation_stage{kind="root", stage="${stage}"}`]: '1x80',
  'chancery_rotation_waits_for{kind="root", what="agents"}': `${agents}x80`,
});
const root_ = (state: string): Series => ({
  'chancery_authority_expiry_seconds{kind="root",serial="a"}': `86400x${DAY}`,
  [`chancery_root_state{serial="a",state="${state}"}`]: `1x${DAY}`,
});
const growing = (metric: string, step: number, silentStep: number, after: number): Row => ({
  fires: { [metric]: `0+${step}x${DAY}` },
  silent: { [metric]: `0+${silentStep}x${DAY}` },
  after,
});

const ROWS: Readonly<Record<string, Row>> = {
  ChanceryCaAbsent: {
    fires: { up: '1x60' },
    silent: { 'chancery_authority_expiry_seconds{kind="root"}': '9x60' },
    after: 6,
  },
  ChanceryRootEnds: { fires: root_('active'), silent: root_('retiring'), after: 90 },
  ChanceryIntermediateNotRenewed: {
    fires: { 'chancery_authority_expiry_seconds{kind="intermediate",serial="a"}': '43199x60' },
    silent: {
      'chancery_authority_expiry_seconds{kind="intermediate",serial="a"}': '60x60',
      'chancery_authority_expiry_seconds{kind="intermediate",serial="b"}': '43200x60',
    },
    after: 10,
  },
  ChanceryCeremonyDue: {
    fires: { 'chancery_authority_request_seconds{request="crl",root="a",what="left"}': `1814399x${DAY}` },
    silent: {
      'chancery_authority_request_seconds{request="crl",root="a",what="left"}': `1814400x${DAY}`,
      'chancery_authority_request_seconds{request="voucher",root="a",what="age"}': `0x${DAY}`,
    },
    after: 90,
  },
  ChanceryCeremonyLate: {
    fires: {
      'chancery_authority_request_seconds{request="intermediate",root="a",what="left"}': `259199x${DAY}`,
    },
    silent: {
      'chancery_authority_request_seconds{request="intermediate",root="a",what="left"}': `259200x${DAY}`,
      'chancery_authority_request_seconds{request="crl",root="a",what="left"}': `0x${DAY}`,
    },
    after: 10,
  },
  ChanceryCrossCertificateEnds: always(
    'chancery_cross_certificate_expiry_seconds{serial="a"}',
    1814399,
    1814400,
    90,
  ),
  ChanceryNoStandbyRoot: {
    fires: {
      'chancery_root_state{serial="a",state="active"}': '1x90',
      'chancery_root_state{serial="b",state="published"}': '1x90',
    },
    silent: {
      'chancery_root_state{serial="a",state="active"}': '1x90',
      'chancery_root_state{serial="b",state="standby"}': '1x90',
    },
    after: 70,
  },
  ChanceryRotationStands: { fires: stages('retiring', 0), silent: stages('idle', 0), after: 4380, step: 60 },
  ChanceryRotationStraggles: { fires: stages('published', 1), silent: stages('published', 0), after: 70 },
  // The first one, of which there was no series before.
  ChanceryCannotIssue: {
    fires: { 'chancery_rpc_duration_seconds_count{rpc="Attest",outcome="store"}': '_x8 1x60' },
    silent: { 'chancery_rpc_duration_seconds_count{rpc="Attest",outcome="store"}': '1x60' },
    after: 10,
  },
  ChanceryRefusals: growing('chancery_issuances_total{platform="tpm",outcome="refused"}', 12, 5, 40),
  ChanceryStoreSlow: always('chancery_store_wait_seconds', 1.5, 1, 3),
  ChanceryAuditLogFailing: always('chancery_audit_log_failing', 1, 0, 3),
  ChanceryCheckpointUncopied: always('chancery_checkpoint_uncopied_seconds', 10_801, 10_800, 7),
  ChanceryCheckpointCopyFailing: always('chancery_checkpoint_copy_failing', 1, 0, 7),
  ChanceryClockInDoubt: always('chancery_start_gap_seconds', 259_201, 259_200, 0),
  ChanceryIssuingHeld: always('chancery_issuing_held', 1, 0, 3),
  ChanceryDiskNearlyFull: always('chancery_disk_free_bytes', 4_294_967_295, 4_294_967_296, 10),
  ChanceryReportsHeld: growing('chancery_reports_held_total{why="disk"}', 1, 0, 10),
  ChanceryAuditEventsLost: growing('chancery_audit_events_lost_total', 1, 0, 10),
  ChanceryCrlStale: {
    fires: {
      'chancery_crl_expiry_seconds{kind="intermediate",serial="a"}': '1199x60',
      'chancery_crl_expiry_seconds{kind="root",serial="b"}': '999999x60',
    },
    silent: {
      'chancery_crl_expiry_seconds{kind="intermediate",serial="a"}': '1200x60',
      'chancery_crl_expiry_seconds{kind="root",serial="b"}': '172800x60',
    },
    after: 10,
  },
  ChanceryCrlLarge: always('chancery_crl_entries{serial="a"}', 100_001, 100_000, 10),
  ChanceryRevocationsNearBound: always('chancery_revocations', 9001, 9000, 10),
  ChanceryUnacknowledged: always('chancery_unacknowledged_agents{part="revocations"}', 1, 0, 10),
  ChanceryAgentsMissing: {
    fires: { chancery_connected_agents: `100x60 89x${DAY}` },
    silent: { chancery_connected_agents: `100x60 90x${DAY}` },
    after: 120,
  },
  ChanceryCallersTurnedAway: {
    fires: { 'chancery_turned_away_total{what="calls",whose="others"}': '_x8 1x60' },
    silent: { 'chancery_turned_away_total{what="calls",whose="strangers"}': '0+1x60' },
    after: 10,
  },
  ChanceryFlood: growing('chancery_turned_away_total{what="connections",whose="anyone"}', 30, 10, 30),
  ChanceryConnectionsNearLimit: always('chancery_open_connections{share="certified"}', 9001, 9000, 10),
  ChanceryCertificateNotRenewing: always('chancery_svid_renewal_failing', 1, 0, 15),
  ChanceryCertificateEnds: always('chancery_svid_expiry_seconds', 899, 900, 5),
  ChanceryAgentProblems: always('chancery_problems', 1, 0, 10),
  ChanceryTrustStreamDown: always('chancery_trust_stream_up', 0, 1, 10),
  ChanceryClockWrong: always('chancery_clock_skew_seconds', -11, 60, 10),
  ChanceryOutputsFailing: always('chancery_outputs_failing', 1, 0, 10),
  ChanceryGatewayGoesStale: {
    fires: { chancery_gateway_stale_in_seconds: '600x60 299x60' },
    silent: { chancery_gateway_stale_in_seconds: '600x60 300x60' },
    after: 90,
  },
  ChanceryGatewayStale: always('chancery_gateway_stale_in_seconds', 0, 1, 5),
  ChanceryRecordsLost: growing('chancery_spool_lost_total', 1, 0, 30),
  ChanceryRecordsLate: always('chancery_spool_oldest_seconds', 301, 300, 15),
  ChanceryDeniedCalls: {
    fires: { 'chancery_gateway_records_total{outcome="denied"}': `0+0x${DAY} 0+20x60` },
    silent: { 'chancery_gateway_records_total{outcome="denied"}': `0+20x${DAY + 60}` },
    after: DAY + 30,
  },
  ChanceryOutcomesUnknown: {
    fires: { 'chancery_gateway_call_seconds_count{server="s",outcome="unknown"}': '0+1x60' },
    silent: {
      'chancery_gateway_call_seconds_count{server="s",outcome="unknown"}': '0+0.5x60',
      'chancery_gateway_call_seconds_count{server="s",outcome="error"}': '0+9x60',
    },
    after: 30,
  },
  ChanceryGatewayObserves: { ...always('chancery_gateway_observing', 1, 0, 1441) },
};

let dir: string;
beforeAll(() => {
  dir = makeFolder();
  copyFileSync(RULES, join(dir, 'rules.yaml'));
});
afterAll(() => removeFolder(dir));

/** Empty if promtool is content, else what it says. */
function judged(...args: readonly string[]): string {
  const ran = spawnSync('promtool', args, { cwd: dir, encoding: 'utf8' });
  return ran.status === 0 ? '' : `${ran.stdout}${ran.stderr}`;
}

/** A test of promtool: whether the alert fires for these series. */
const testOf = (alert: string, series: Series, { after, step = 1 }: Row, firing: number) => ({
  interval: `${step}m`,
  input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
  promql_expr_test: [
    {
      expr: `count(ALERTS{alertname="${alert}", alertstate="firing"})`,
      eval_time: `${after}m`,
      exp_samples: firing === 0 ? [] : [{ labels: '{}', value: firing }],
    },
  ],
});

test('each alert has a row here', () => {
  const { groups } = parse(readFileSync(RULES, 'utf8')) as {
    readonly groups: readonly { readonly rules: readonly { readonly alert: string }[] }[];
  };
  expect(Object.keys(ROWS)).toEqual(groups.flatMap(({ rules }) => rules.map(({ alert }) => alert)));
});

describe('by promtool', () => {
  beforeEach(({ skip }) => skip(missing !== undefined, missing));

  test('the rules can be read', () => {
    expect(judged('check', 'rules', 'rules.yaml')).toBe('');
  });

  test.each(Object.entries(ROWS))('%s fires, and is silent below its bound', (alert, row) => {
    const file = `${alert}.yaml`;
    const tests = [testOf(alert, row.fires, row, 1), testOf(alert, row.silent, row, 0)];
    const content = { rule_files: ['rules.yaml'], evaluation_interval: `${row.step ?? 1}m`, tests };
    writeFileSync(join(dir, file), stringify(content));
    expect(judged('test', 'rules', file)).toBe('');
  });

  test('what real programs expose is well formed, and all of it', async () => {
    const [caPort, agentPort] = [await freePort(), await freePort()];
    const server = { identity: ID, address: `127.0.0.1:${await freePort()}` };
    const { ca, serving } = await serveUnixCa(
      dir,
      DOMAIN,
      [
        { kind: 'Identity', name: 'w', platform: 'unix', id: ID },
        { kind: 'McpServer', name: 's', ...server },
      ],
      { http: `127.0.0.1:${caPort}` },
    );
    const upstream = { url: `http://127.0.0.1:${await freePort()}/mcp` };
    const agent = makeAgent(ca, 'agent', {
      evidence: { unix: {} },
      http: `127.0.0.1:${agentPort}`,
      gateway: { server: 's', listen: server.address, maxStaleness: '1h', upstream },
    });
    const running = await agent.run('gateway');
    for (const [port, program] of [
      [caPort, 'chancery-ca'],
      [agentPort, 'chancery-agent'],
    ] as const) {
      const scraped = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      const ours = scraped.split('\n').filter((line) => /^(# (HELP|TYPE) )?chancery_/.test(line));
      const { stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
        input: `${ours.join('\n')}\n`,
        encoding: 'utf8',
      });
      expect(`${stdout}${stderr}`).toBe('');
      const named = ours.flatMap((line) => /^# TYPE (\w+)/.exec(line)?.[1] ?? []);
      const page = readFileSync(join(root, 'docs/metrics.md'), 'utf8').split('## Alerts')[0] ?? '';
      const [, part = ''] = page.split(`## Metrics of ${program}\n`);
      const told = [...(part.split('\n## ')[0] ?? '').matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);
      expect(named.toSorted()).toEqual(told);
    }
    await running.stop();
    await serving.stop();
  });
});

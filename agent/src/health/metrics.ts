/** The agent's Prometheus metrics. Names end in their unit; labels take values from short lists only. */
import { definitionsOf, type MetricDefinition } from '@chancery/shared/health/definition.ts';
import type { Exposition } from '@chancery/shared/health/server.ts';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { CallEvent } from '../mcp/call-event.ts';
import type { SpoolReport } from '../spool/call-spool.ts';
import type { StatusReport } from '../workload/local-messages.ts';
import { addCallMetrics, type OpenSessions } from './call-metrics.ts';

export interface AgentMetrics extends Exposition {
  /** Counts what the gateway records. */
  call(event: CallEvent): void;
  /** Counts a new SVID. */
  rotated(): void;
  /** All but Node's own, for the printed reference. */
  definitions(): readonly MetricDefinition[];
}

/** What is measured of a gateway. */
export interface GatewaySources {
  /** Seconds until it takes no new calls; undefined if nothing bounds that. */
  readonly staleIn: () => number | undefined;
  /** Undefined if it does not report its records. */
  readonly spool: () => SpoolReport | undefined;
  /** Servers that let pass what their rules deny. */
  readonly observing: () => number;
  /** Of each server; empty before it listens. */
  readonly sessions: () => readonly OpenSessions[];
}

/** What is measured of an agent besides its status. */
export interface AgentSources extends GatewaySources {
  /** Seconds since the trust stream was lost, 0 while it is open; undefined before the agent has joined. */
  readonly silent: () => number | undefined;
}

/** Gauges are computed from `status` at each scrape. Needs no closing. */
export function createAgentMetrics(
  status: () => StatusReport,
  now: () => Date,
  { staleIn, spool, observing, sessions, silent }: AgentSources,
): AgentMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const calls = new Counter({
    name: 'chancery_gateway_records_total',
    help:
      'Records of the gateway by outcome: allowed, observed, denied, refused, dropped, ended, claimed; ' +
      'of answers result, error, abandoned, unknown.',
    labelNames: ['outcome'],
    registers,
  });
  const rotations = new Counter({
    name: 'chancery_svid_rotations_total',
    help: 'Certificates that replaced another one.',
    registers,
  });
  const count = addCallMetrics(sessions, registers);
  addGauges(status, now, registers);
  addSilentGauge(silent, registers);
  addStaleGauge(staleIn, registers);
  addObservingGauge(observing, registers);
  addSpoolMetrics(spool, registers);
  return {
    call(event) {
      calls.inc({ outcome: outcomeOf(event) }, event.count ?? 1);
      count(event);
    },
    rotated: () => rotations.inc(),
    text: () => registry.metrics(),
    contentType: registry.contentType,
    definitions: () => definitionsOf(registry.getMetricsAsArray()),
  };
}

function addGauges(status: () => StatusReport, now: () => Date, registers: Registry[]): void {
  const gauge = (name: string, help: string, value: (report: StatusReport) => number | undefined): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value(status()) ?? Number.NaN);
      },
    });
  };
  gauge(
    'chancery_svid_expiry_seconds',
    'Seconds until the certificate expires; alert well before 0.',
    ({ notAfter }) => (notAfter === null ? undefined : (Date.parse(notAfter) - now().getTime()) / 1000),
  );
  gauge('chancery_svid_renewal_failing', '1 while the last renewal failed.', ({ renewalFailure }) =>
    renewalFailure === null ? 0 : 1,
  );
  gauge('chancery_trust_stream_up', '1 while the trust stream is open.', ({ trustStream }) =>
    trustStream === null ? undefined : Number(trustStream.up),
  );
  gauge(
    'chancery_clock_skew_seconds',
    "For how many seconds this clock is ahead of the CA's.",
    ({ skewSeconds }) => skewSeconds ?? undefined,
  );
  gauge(
    'chancery_outputs_failing',
    'Outputs that are not up to date.',
    ({ outputs }) => outputs.filter(({ failure }) => failure !== null).length,
  );
  gauge(
    'chancery_problems',
    'Problems for an operator, which chancery-agent status lists.',
    ({ problems }) => problems.length,
  );
}

function addStaleGauge(staleIn: () => number | undefined, registers: Registry[]): void {
  new Gauge({
    name: 'chancery_gateway_stale_in_seconds',
    help: 'Seconds until the gateway takes no new calls, because its CA was not heard; NaN without maxStaleness.',
    registers,
    collect() {
      this.set(staleIn() ?? Number.NaN);
    },
  });
}

function addSilentGauge(silent: () => number | undefined, registers: Registry[]): void {
  new Gauge({
    name: 'chancery_trust_silent_seconds',
    help:
      'Seconds since the trust stream was lost, and with it the news of the CA; 0 while it is open, NaN before the ' +
      'agent has joined.',
    registers,
    collect() {
      this.set(silent() ?? Number.NaN);
    },
  });
}

function addObservingGauge(observing: () => number, registers: Registry[]): void {
  new Gauge({
    name: 'chancery_gateway_observing',
    help: 'Servers of the gateway that let pass what their rules deny, because their McpServer observes.',
    registers,
    collect() {
      this.set(observing());
    },
  });
}

/** NaN for a gateway with `report: false`; the totals are 0 there. */
function addSpoolMetrics(spool: () => SpoolReport | undefined, registers: Registry[]): void {
  const gauge = (name: string, help: string, value: (report: SpoolReport) => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const report = spool();
        this.set(report === undefined ? Number.NaN : value(report));
      },
    });
  };
  gauge('chancery_spool_records', 'Records that the CA does not have yet.', ({ depth }) => depth);
  gauge(
    'chancery_spool_bytes',
    'Bytes of the spool on the disk, of gateway.report.maxBytes.',
    ({ bytes }) => bytes,
  );
  gauge(
    'chancery_spool_oldest_seconds',
    'Seconds since the oldest record that the CA does not have yet; 0 where there is none.',
    ({ oldestSeconds }) => oldestSeconds,
  );
  const total = (name: string, help: string, value: (report: SpoolReport) => number): void => {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(value(spool() ?? NO_SPOOL));
      },
    });
  };
  total('chancery_spool_acknowledged_total', 'Records that the CA has.', ({ acknowledged }) => acknowledged);
  total(
    'chancery_spool_lost_total',
    'Records that the CA will never have, because the spool was full or spoiled.',
    ({ lost }) => lost,
  );
}
const NO_SPOOL = { depth: 0, bytes: 0, oldestSeconds: 0, acknowledged: 0, lost: 0 };

function outcomeOf({ stage, allow, observed, outcome }: CallEvent): string {
  if (observed === true) return 'observed';
  if (stage === 'decided') return allow === true ? 'allowed' : 'denied';
  return stage === 'answered' ? (outcome ?? 'unknown') : stage;
}

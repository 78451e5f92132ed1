/** Prometheus metrics. Names end in their unit; labels take values from short lists only. */
import { definitionsOf, type MetricDefinition } from '@chancery/shared/health/definition.ts';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { addLogGauges, type LogSources } from './log-gauges.ts';
import { addRequestGauge, type OpenRequest } from './requests.ts';
import { addCrossGauge, addRotationGauges, type RotationSources } from './rotation-gauges.ts';

export interface MetricSources extends RotationSources, LogSources {
  /** What offline roots are asked for. */
  readonly requests: () => readonly OpenRequest[];
  readonly connectedAgents: () => number;
  /** Of those: how many have not acknowledged what is in force, by part. */
  readonly unacknowledgedAgents: () => Readonly<Record<string, number>>;
  readonly openExchanges: () => number;
  /** Of the disk of the database. Rejects where the file system does not say. */
  readonly freeBytes: () => Promise<number>;
  /** Batches of call records that had to wait, by what there was too little of. */
  readonly heldReports: () => Readonly<Record<string, number>>;
  /** For how many seconds the database has owed an answer. */
  readonly storeWaitSeconds: () => number;
  /** Connections by share. */
  readonly openConnections: () => Readonly<Record<string, number>>;
  readonly revocations: () => number;
  /** The list of each issuer. */
  readonly revocationLists: () => readonly RevocationList[];
}

/** What a metric says of a CRL. */
export interface RevocationList {
  readonly kind: string;
  /** Of the issuer. */
  readonly serial: string;
  readonly nextUpdate: Date;
  readonly entries: { readonly count: number };
}

export interface Metrics {
  /** Counts an issuance or a refusal by platform. */
  outcome(platform: string, outcome: string): void;
  /** Counts a call and how long it took. */
  observe(rpc: string, seconds: number, outcome: string): void;
  /** Counts a connection or a call that was refused for lack of places or for its rate. */
  turnedAway(of: { readonly what: string; readonly whose: string }): void;
  /** Counts audit events that could not be written. */
  eventsLost(events: number): void;
  /** The exposition text. */
  text(): Promise<string>;
  readonly contentType: string;
  /** All but Node's own, for the printed reference. */
  definitions(): readonly MetricDefinition[];
}

const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** Gauges ask `sources` at each scrape. Needs no closing. */
export function createMetrics(sources: MetricSources): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const issuances = new Counter({
    name: 'chancery_issuances_total',
    help: 'Exchanges that ended with a certificate (issued) or a refusal (refused).',
    labelNames: ['platform', 'outcome'],
    registers,
  });
  const latency = new Histogram({
    name: 'chancery_rpc_duration_seconds',
    help: 'Duration of finished calls; the outcome is ok or the code of the refusal.',
    labelNames: ['rpc', 'outcome'],
    buckets: BUCKETS,
    registers,
  });
  const turnedAway = new Counter({
    name: 'chancery_turned_away_total',
    help:
      'Connections and calls that were refused for lack of places or for their rate; whose: strangers, ' +
      'others (certified peers and local users), or anyone (connections).',
    labelNames: ['what', 'whose'],
    registers,
  });
  const eventsLost = new Counter({
    name: 'chancery_audit_events_lost_total',
    help: 'Audit events of how an issuing ended that could not be written.',
    registers,
  });
  addGauges(sources, registers);
  addRequestGauge(sources, registers);
  addCrossGauge(sources, registers);
  addReportMetrics(sources, registers);
  return {
    outcome: (platform, outcome) => issuances.inc({ platform, outcome }),
    observe: (rpc, seconds, outcome) => latency.observe({ rpc, outcome }, seconds),
    turnedAway: ({ what, whose }) => turnedAway.inc({ what, whose }),
    eventsLost: (events) => eventsLost.inc(events),
    text: () => registry.metrics(),
    contentType: registry.contentType,
    definitions: () => definitionsOf(registry.getMetricsAsArray()),
  };
}

function addGauges(sources: MetricSources, registers: Registry[]): void {
  new Gauge({
    name: 'chancery_authority_expiry_seconds',
    help: 'Seconds until this root or intermediate expires; alert well before 0.',
    labelNames: ['kind', 'serial'],
    registers,
    collect() {
      this.reset();
      for (const { kind, serial, notAfter } of sources.authorities())
        this.set({ kind, serial }, (notAfter.getTime() - sources.now().getTime()) / 1000);
    },
  });
  addRotationGauges(sources, registers);
  new Gauge({
    name: 'chancery_connected_agents',
    help: 'Agents whose trust stream is open.',
    registers,
    collect() {
      this.set(sources.connectedAgents());
    },
  });
  new Gauge({
    name: 'chancery_unacknowledged_agents',
    help: 'Connected agents that have not acknowledged what is in force, by part: bundle, policy or revocations.',
    labelNames: ['part'],
    registers,
    collect() {
      for (const [part, count] of Object.entries(sources.unacknowledgedAgents())) this.set({ part }, count);
    },
  });
  new Gauge({
    name: 'chancery_open_exchanges',
    help: 'Attestations and renewals that are not finished.',
    registers,
    collect() {
      this.set(sources.openExchanges());
    },
  });
  new Gauge({
    name: 'chancery_store_wait_seconds',
    help: 'For how long the oldest call at the database has waited for its answer.',
    registers,
    collect() {
      this.set(sources.storeWaitSeconds());
    },
  });
  new Gauge({
    name: 'chancery_open_connections',
    help: 'Connections on the TLS port of certified peers and of strangers, and on join.sock (local).',
    labelNames: ['share'],
    registers,
    collect() {
      for (const [share, open] of Object.entries(sources.openConnections())) this.set({ share }, open);
    },
  });
  new Gauge({
    name: 'chancery_revocations',
    help: 'Revocations in force.',
    registers,
    collect() {
      this.set(sources.revocations());
    },
  });
  addLogGauges(sources, registers);
  addListGauges(sources, registers);
}

function addReportMetrics({ freeBytes, heldReports }: MetricSources, registers: Registry[]): void {
  new Gauge({
    name: 'chancery_disk_free_bytes',
    help: 'Bytes that are left for the CA on the disk of its database.',
    registers,
    async collect() {
      this.set(await freeBytes().catch(() => 0));
    },
  });
  new Counter({
    name: 'chancery_reports_held_total',
    help:
      'Messages of call records that had to wait: the disk is nearly full (disk), or their reporter has had ' +
      'limits.reportedBytesPerDay (share).',
    labelNames: ['why'],
    registers,
    collect() {
      this.reset();
      for (const [why, count] of Object.entries(heldReports())) this.inc({ why }, count);
    },
  });
}

function addListGauges({ revocationLists, now }: MetricSources, registers: Registry[]): void {
  const labelNames = ['kind', 'serial'];
  new Gauge({
    name: 'chancery_crl_expiry_seconds',
    help: 'Seconds until the nextUpdate of the revocation list (CRL) of this issuer.',
    labelNames,
    registers,
    collect() {
      this.reset();
      for (const { kind, serial, nextUpdate } of revocationLists())
        this.set({ kind, serial }, (nextUpdate.getTime() - now().getTime()) / 1000);
    },
  });
  new Gauge({
    name: 'chancery_crl_entries',
    help: 'Certificates on the revocation list (CRL) of this issuer.',
    labelNames,
    registers,
    collect() {
      this.reset();
      for (const { kind, serial, entries } of revocationLists()) this.set({ kind, serial }, entries.count);
    },
  });
}

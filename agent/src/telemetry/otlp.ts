/**
 * Exports spans and durations by OTLP over HTTP (protobuf), with OpenTelemetry's own SDK. What waits is bounded: a
 * collector that hangs or is away costs spans, and no call waits for it. Loaded only if telemetry is configured.
 */
import { randomUUID } from 'node:crypto';
import type { Log } from '@chancery/shared/ground/log.ts';
import { type ExportResult, ExportResultCode, parseKeyPairsIntoRecord } from '@opentelemetry/core';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { Spans } from '../mcp/spans.ts';
import type { Exporting } from './settings.ts';
import { spansWith } from './spans.ts';

export interface Telemetry {
  /** Of the gateway (`server`) or of connect (`client`). */
  spans(role: 'client' | 'server'): Spans;
  /** Sends what waits, for at most a second. Resolves then, whatever the collector does. */
  close(): Promise<void>;
}

/** As the conventions ask for it, in seconds. */
const BOUNDS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300];
/** Spans that wait. A batch is written in one piece, so it is small: calls wait meanwhile. */
const QUEUE = { maxQueueSize: 2_048, maxExportBatchSize: 128, scheduledDelayMillis: 2_000 };
const EXPORT_MS = 5_000;
/** Of each signal. The library reads an answer of up to 4 MiB. */
const CONCURRENT = 2;
const CLOSE_MS = 1_000;
const LIMITS = {
  attributeValueLengthLimit: 256,
  attributeCountLimit: 32,
  linkCountLimit: 1,
  eventCountLimit: 0,
};

/** Connects to nobody yet, and never throws for a collector that is away. The caller closes it. */
export function openTelemetry(
  exporting: Exporting,
  version: string,
  log: Pick<Log, 'warn' | 'info'>,
): Telemetry {
  const resource = resourceFromAttributes({
    ...parseKeyPairsIntoRecord(exporting.attributes),
    'service.name': exporting.service,
    'service.version': version,
    'service.instance.id': randomUUID(),
  });
  const to = (url: string) => ({ url, timeoutMillis: EXPORT_MS, concurrencyLimit: CONCURRENT });
  const traces = watched(new OTLPTraceExporter(to(exporting.traces)), 'spans', log);
  const metrics = watched(new OTLPMetricExporter(to(exporting.metrics)), 'durations', log);
  const tracers = new TracerProvider({
    resource,
    spanLimits: LIMITS,
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(exporting.sample) }),
    spanProcessors: [
      new BatchSpanProcessor({ exporter: traces, exportTimeoutMillis: 2 * EXPORT_MS, ...QUEUE }),
    ],
  });
  const exportIntervalMillis = exporting.interval * 1000;
  const reader = new PeriodicExportingMetricReader({
    exporter: metrics,
    exportIntervalMillis,
    exportTimeoutMillis: Math.min(2 * EXPORT_MS, exportIntervalMillis),
  });
  const meters = new MeterProvider({ resource, readers: [reader] });
  return {
    spans: (role) => {
      const durations = meters
        .getMeter('chancery', version)
        .createHistogram(`mcp.${role}.operation.duration`, {
          unit: 's',
          description: DESCRIPTIONS[role],
          advice: { explicitBucketBoundaries: BOUNDS },
        });
      return spansWith({ tracer: tracers.getTracer('chancery', version), durations, role });
    },
    async close() {
      const sent = Promise.allSettled([tracers.shutdown(), meters.shutdown()]);
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise((resolve) => {
        timer = setTimeout(resolve, CLOSE_MS);
      });
      await Promise.race([sent, late]);
      clearTimeout(timer);
    },
  };
}

const DESCRIPTIONS = {
  client: 'Duration of an MCP request or notification, from when it was sent until its answer came.',
  server: 'Duration of an MCP request or notification, from when it came until its answer was sent.',
} as const;

interface Exporter<T> {
  export(items: T, callback: (result: ExportResult) => void): void;
}

/** Logs when the collector begins to fail and when it takes something again, and not each time. */
function watched<T, E extends Exporter<T>>(exporter: E, what: string, log: Pick<Log, 'warn' | 'info'>): E {
  let failing = false;
  const original = exporter.export.bind(exporter);
  exporter.export = (items, callback) =>
    original(items, (result) => {
      const fails = result.code !== ExportResultCode.SUCCESS;
      if (fails && !failing)
        log.warn({ detail: result.error?.message }, `the OTLP collector does not take ${what}`);
      if (!fails && failing) log.info({}, `the OTLP collector takes ${what} again`);
      failing = fails;
      callback(result);
    });
  return exporter;
}

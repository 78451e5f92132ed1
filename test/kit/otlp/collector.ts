/**
 * A collector of OTLP over HTTP, for tests. It reads what comes by OTLP's own published .proto files (otlp.binpb,
 * of github.com/open-telemetry/opentelemetry-proto, Apache-2.0), and refuses what they do not know.
 */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { createFileRegistry, type FileRegistry, fromBinary, toJson } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { root } from '../processes.ts';

export interface CollectedSpan {
  readonly service: string;
  readonly name: string;
  readonly kind: string;
  /** Hexadecimal. */
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the first of its trace. */
  readonly parentSpanId: string;
  readonly traceState: string;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly failed: boolean;
  readonly attributes: Readonly<Record<string, string>>;
  /** Nanoseconds. */
  readonly took: bigint;
}

export interface CollectedDurations {
  readonly service: string;
  readonly name: string;
  readonly unit: string;
  readonly bounds: readonly number[];
  readonly points: readonly {
    readonly count: number;
    readonly sum: number;
    readonly attributes: Readonly<Record<string, string>>;
  }[];
}

export interface Collector {
  readonly url: string;
  readonly spans: CollectedSpan[];
  /** The newest of each export. */
  readonly durations: CollectedDurations[];
  /** All that came, as it was on the wire. */
  readonly bodies: Buffer[];
  readonly headers: IncomingMessage['headers'][];
  close(): Promise<void>;
}

type Take = (req: IncomingMessage, res: ServerResponse) => void;
type Any = Readonly<Record<string, never>>;

/** `take` answers instead of it. The caller closes it. */
export async function startCollector(take?: Take): Promise<Collector> {
  const registry = published();
  const got: Omit<Collector, 'url' | 'close'> = { spans: [], durations: [], bodies: [], headers: [] };
  const server = createServer((req, res) => {
    if (take !== undefined) return take(req, res);
    collect(registry, got, req).then(
      () => res.writeHead(200, { 'content-type': 'application/x-protobuf' }).end(),
      (error: unknown) => res.writeHead(400).end(String(error)),
    );
    return undefined;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { ...got, url: `http://127.0.0.1:${port}`, close: () => closed(server) };
}

const closed = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });

/** The descriptors, as `buf build` makes them of the published files (version of August 2026). */
const published = (): FileRegistry =>
  createFileRegistry(
    fromBinary(FileDescriptorSetSchema, readFileSync(join(root, 'test/kit/otlp/otlp.binpb'))),
  );

const REQUESTS: Readonly<Record<string, string>> = {
  '/v1/traces': 'opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest',
  '/v1/metrics': 'opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest',
};

async function collect(
  registry: FileRegistry,
  got: Omit<Collector, 'url' | 'close'>,
  req: IncomingMessage,
): Promise<void> {
  const body = await buffer(req);
  const schema = registry.getMessage(REQUESTS[req.url ?? ''] ?? '');
  if (schema === undefined || req.headers['content-type'] !== 'application/x-protobuf')
    throw new TypeError(`neither traces nor metrics in protobuf: ${req.url}`);
  const message = fromBinary(schema, body);
  if ((message.$unknown ?? []).length > 0) throw new TypeError('fields that OTLP does not know');
  const json = toJson(schema, message) as Any;
  got.bodies.push(body);
  got.headers.push(req.headers);
  got.spans.push(...spansIn(json));
  got.durations.push(...durationsIn(json));
}

const list = (value: unknown): readonly Any[] => (Array.isArray(value) ? value : []);

const spansIn = ({ resourceSpans }: Any): readonly CollectedSpan[] =>
  list(resourceSpans).flatMap(({ resource, scopeSpans }) =>
    list(scopeSpans).flatMap(({ spans }) =>
      list(spans).map((span) => ({
        service: attributesOf(resource)['service.name'] ?? '',
        ...{
          name: String(span['name']),
          kind: String(span['kind']),
          traceState: String(span['traceState'] ?? ''),
        },
        ...{
          traceId: hex(span['traceId']),
          spanId: hex(span['spanId']),
          parentSpanId: hex(span['parentSpanId']),
        },
        links: list(span['links']).map((link) => ({
          traceId: hex(link['traceId']),
          spanId: hex(link['spanId']),
        })),
        failed: (span['status'] as Any | undefined)?.['code'] === 'STATUS_CODE_ERROR',
        attributes: attributesOf(span),
        took: BigInt(span['endTimeUnixNano'] ?? 0) - BigInt(span['startTimeUnixNano'] ?? 0),
      })),
    ),
  );

const durationsIn = ({ resourceMetrics }: Any): readonly CollectedDurations[] =>
  list(resourceMetrics).flatMap(({ resource, scopeMetrics }) =>
    list(scopeMetrics).flatMap(({ metrics }) =>
      list(metrics).map(({ name, unit, histogram }) => {
        const points = list((histogram as Any | undefined)?.['dataPoints']);
        return {
          service: attributesOf(resource)['service.name'] ?? '',
          ...{ name: String(name), unit: String(unit) },
          bounds: list(points[0]?.['explicitBounds']).map(Number),
          points: points.map((point) => ({
            ...{ count: Number(point['count']), sum: Number(point['sum']) },
            attributes: attributesOf(point),
          })),
        };
      }),
    ),
  );

const attributesOf = (holder: unknown): Readonly<Record<string, string>> =>
  Object.fromEntries(
    list((holder as Any | undefined)?.['attributes']).map(({ key, value }) => [
      String(key),
      String(Object.values((value as Any | undefined) ?? {})[0]),
    ]),
  );

/** The JSON of protobuf has bytes in base64. */
const hex = (bytes: unknown): string => Buffer.from(String(bytes ?? ''), 'base64').toString('hex');

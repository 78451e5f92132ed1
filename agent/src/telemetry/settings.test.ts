import { expect, test } from 'vitest';
import { exportingOf } from './settings.ts';

const said: string[] = [];
const log = { warn: (_: object, text: string) => void said.push(text) };
const of = (settings: Parameters<typeof exportingOf>[0], env: Record<string, string> = {}) =>
  exportingOf(settings, env, { service: 'chancery-gateway', log });
const CONFIGURED = { endpoint: 'http://127.0.0.1:4318/', sample: 0.5, interval: 10 };
const HERE = 'http://collector.example:4318';

test('nothing is exported unless the config or the environment names an endpoint', () => {
  expect(of(undefined)).toBeUndefined();
  expect(of(undefined, { OTEL_SERVICE_NAME: 'x' })).toBeUndefined();
  expect(of(undefined, { OTEL_EXPORTER_OTLP_ENDPOINT: '' })).toBeUndefined();
});

test('the endpoint of the config comes first, and the service has the name of the environment', () => {
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: HERE, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${HERE}/t` };
  expect(of(CONFIGURED, env)).toEqual({
    traces: 'http://127.0.0.1:4318/v1/traces',
    metrics: 'http://127.0.0.1:4318/v1/metrics',
    ...{ sample: 0.5, interval: 10, service: 'chancery-gateway', attributes: undefined },
  });
  expect(of(CONFIGURED, { OTEL_SERVICE_NAME: 'mine' })?.service).toBe('mine');
});

test('the environment names a base, or an endpoint of each signal, which is used as it is', () => {
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: HERE, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${HERE}/t` };
  expect(of(undefined, { ...env, OTEL_RESOURCE_ATTRIBUTES: 'a=b' })).toMatchObject({
    ...{ traces: `${HERE}/t`, metrics: `${HERE}/v1/metrics`, sample: 1, interval: 60, attributes: 'a=b' },
  });
});

test.each<[string, Record<string, string>, string]>([
  ['another protocol', { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, 'the protocol grpc'],
  ['no URL', { OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'collector:4318' }, 'an endpoint that is no http(s) URL'],
])('an environment that asks for %s exports nothing, and the log says so', (_, more, says) => {
  said.length = 0;
  expect(of(undefined, { OTEL_EXPORTER_OTLP_ENDPOINT: HERE, ...more })).toBeUndefined();
  expect(said).toEqual([`no telemetry: the environment asks for ${says}; http/protobuf is spoken`]);
});

test('OTEL_SDK_DISABLED ends it, whatever is configured', () => {
  expect(of(CONFIGURED, { OTEL_SDK_DISABLED: 'TRUE' })).toBeUndefined();
});

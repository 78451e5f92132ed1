/** Whether telemetry is exported and where to: by the config, else by OpenTelemetry's own environment variables. */
import type { Log } from '@chancery/shared/ground/log.ts';
import type { TelemetrySettings } from '../config/telemetry.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** Complete URLs. */
export interface Exporting extends Omit<TelemetrySettings, 'endpoint'> {
  readonly traces: string;
  readonly metrics: string;
  /** `service.name` */
  readonly service: string;
  /** `OTEL_RESOURCE_ATTRIBUTES` as it is. */
  readonly attributes: string | undefined;
}

const SPOKEN = 'http/protobuf';

/**
 * Undefined if nothing is exported. The config's endpoint comes before that of the environment, which others may have
 * set for other programs.
 */
export function exportingOf(
  settings: TelemetrySettings | undefined,
  env: Env,
  { service, log }: { readonly service: string; readonly log: Pick<Log, 'warn'> },
): Exporting | undefined {
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return undefined;
  const fromEnv = settings === undefined;
  const base = settings?.endpoint ?? env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  const of = (signal: 'traces' | 'metrics'): string | undefined => {
    const own = fromEnv ? env[`OTEL_EXPORTER_OTLP_${signal.toUpperCase()}_ENDPOINT`] : undefined;
    return own || (base ? `${base.replace(/\/+$/, '')}/v1/${signal}` : undefined);
  };
  const [traces, metrics] = [of('traces'), of('metrics')];
  if (traces === undefined || metrics === undefined) return undefined;
  const protocol = env['OTEL_EXPORTER_OTLP_PROTOCOL'] || SPOKEN;
  const refused = [traces, metrics].find((url) => !isHttp(url));
  if (fromEnv && (protocol !== SPOKEN || refused !== undefined)) {
    const says = refused === undefined ? `the protocol ${protocol}` : 'an endpoint that is no http(s) URL';
    log.warn({}, `no telemetry: the environment asks for ${says}; ${SPOKEN} is spoken`);
    return undefined;
  }
  const { sample = 1, interval = 60 } = settings ?? {};
  const name = env['OTEL_SERVICE_NAME'] || service;
  return { traces, metrics, sample, interval, service: name, attributes: env['OTEL_RESOURCE_ATTRIBUTES'] };
}

const isHttp = (url: string): boolean => /^https?:$/.test(URL.parse(url)?.protocol ?? '');

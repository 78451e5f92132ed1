/** Telemetry, if it is configured. The SDK takes tens of megabytes, so nobody else loads it. */
import type { Log } from '@chancery/shared/ground/log.ts';
import type { TelemetrySettings } from '../config/telemetry.ts';
import type { Telemetry } from './otlp.ts';
import { exportingOf } from './settings.ts';

export interface TelemetryDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  readonly version: string;
}

/** Undefined if it is not configured. The caller closes it. */
export async function telemetryFor(
  settings: TelemetrySettings | undefined,
  service: string,
  { env, log, version }: TelemetryDeps,
): Promise<Telemetry | undefined> {
  const exporting = exportingOf(settings, env, { service, log });
  if (exporting === undefined) return undefined;
  const { openTelemetry } = await import('./otlp.ts');
  return openTelemetry(exporting, version, log);
}

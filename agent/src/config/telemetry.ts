/** `telemetry` of the agent's config: where spans and durations of MCP calls go. */
import { parseDuration } from '@chancery/shared/config/duration.ts';
import { by, DURATION, text } from '@chancery/shared/config/schema.ts';
import { z } from 'zod';

const MIN_INTERVAL_SECONDS = 1;

export const TelemetryConfig = z.strictObject({
  endpoint: z
    .url({ protocol: /^https?$/ })
    .describe(
      'The base URL of an OTLP collector over HTTP, for instance http://127.0.0.1:4318; /v1/traces and /v1/metrics ' +
        'are added.',
    ),
  sample: z
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe(
      'The part of the traces that begin here which is exported. Others keep the choice of the client.',
    ),
  interval: text(DURATION)
    .transform(by(parseDuration))
    .refine((seconds) => seconds >= MIN_INTERVAL_SECONDS, `at least ${MIN_INTERVAL_SECONDS}s is expected`)
    .prefault('60s')
    .describe('How often durations are exported.'),
});

export type TelemetrySettings = z.infer<typeof TelemetryConfig>;

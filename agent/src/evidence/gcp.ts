/** The identity token of a Compute Engine instance, asked from its metadata server. Mirrors ca/attestors/gcp.ts. */

import { audienceOf } from '@chancery/shared/evidence/binding.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { OutboundReply } from '@chancery/shared/outbound/http.ts';
import { z } from 'zod';
import type { EvidenceDeps, EvidenceKind, EvidenceSource } from './evidence.ts';

export const GcpEvidenceConfig = z.strictObject({
  endpoint: z
    .url({ protocol: /^http$/ })
    .default('http://metadata.google.internal')
    .describe('The metadata server.'),
  serviceAccount: z
    .string()
    .regex(/^[\w.@-]+$/, 'the email address of a service account, or default')
    .default('default')
    .describe("Which of the instance's service accounts to use."),
});
export type GcpEvidenceConfig = z.infer<typeof GcpEvidenceConfig>;

export const gcpEvidenceKind: EvidenceKind<GcpEvidenceConfig> = {
  platform: 'gcp',
  says: "This Compute Engine instance's identity token.",
  schema: GcpEvidenceConfig,
  create: gcpEvidence,
  async detect(deps, signal) {
    const { endpoint } = GcpEvidenceConfig.parse({});
    try {
      const { status } = await ask(`${endpoint}/computeMetadata/v1/instance/id`, deps, signal);
      return { usable: status === 200, says: `the metadata server at ${endpoint} answers ${status}` };
    } catch (error) {
      return { usable: false, says: error instanceof Error ? error.message : String(error) };
    }
  },
};

const DETECT_MS = 1_000;

/**
 * Asks the metadata server once for each exchange, for at most 5 s. The exchange throws platform_unavailable with
 * the URL and the status. There is nothing to close.
 */
export function gcpEvidence(
  { endpoint, serviceAccount }: GcpEvidenceConfig,
  deps: EvidenceDeps,
): EvidenceSource {
  const path = `/computeMetadata/v1/instance/service-accounts/${serviceAccount}/identity`;
  return {
    platform: 'gcp',
    async begin(_, signal) {
      return {
        opening: new Uint8Array(),
        async answer(_question, binding) {
          const audience = encodeURIComponent(audienceOf(deps.trustDomain, binding));
          const { status, body } = await ask(
            `${endpoint}${path}?audience=${audience}&format=full`,
            deps,
            signal,
          );
          const hint = status === 404 ? ': has this instance a service account?' : '';
          ensure(status === 200, 'platform_unavailable', `${endpoint}${path} answered ${status}${hint}`);
          return body;
        },
        async end() {},
      };
    },
    async close() {},
  };
}

/** Without this header the metadata server refuses: a browser or a redirected request cannot send it. */
function ask(
  url: string,
  { outbound }: Pick<EvidenceDeps, 'outbound'>,
  signal: AbortSignal,
): Promise<OutboundReply> {
  const headers = { 'Metadata-Flavor': 'Google' };
  return outbound.request({ url, headers, timeoutMs: DETECT_MS * 5, maxBytes: 64 * 1024, signal });
}

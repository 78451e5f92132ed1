/**
 * Evidence from AWS: a token by sts:GetWebIdentityToken for one audience, the binding. Mirrors
 * ca/attestors/aws-web-identity.ts.
 */

import { audienceOf } from '@chancery/shared/evidence/binding.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure, refusalOf } from '@chancery/shared/ground/errors.ts';
import { address } from '@chancery/shared/outbound/address.ts';
import { z } from 'zod';
import type { EvidenceDeps, EvidenceKind, EvidenceSource } from '../evidence.ts';
import { type AwsCaller, awsCaller } from './caller.ts';
import { detectAws } from './metadata.ts';

const AwsWebIdentityEvidenceConfig = z.strictObject({
  region: z
    .string()
    .min(1)
    .optional()
    .describe('The region whose STS is asked (default: AWS_REGION, else that of the instance).'),
  endpoint: address
    .optional()
    .describe("Where STS is asked instead of the region's own host, such as a VPC endpoint."),
});
type AwsWebIdentityEvidenceConfig = z.infer<typeof AwsWebIdentityEvidenceConfig>;

export const awsWebIdentityEvidenceKind: EvidenceKind<AwsWebIdentityEvidenceConfig> = {
  platform: 'aws-web-identity',
  says: 'A token that AWS signs for this exchange, by sts:GetWebIdentityToken.',
  schema: AwsWebIdentityEvidenceConfig,
  create: ({ region, endpoint }, deps) => awsWebIdentityEvidence(awsCaller(region, deps), deps, endpoint),
  detect: detectAws,
};

/** The shortest that AWS makes; the exchange has as long. */
const SECONDS = 60;
const TIMEOUT_MS = 10_000;

/**
 * Asks STS for a token, for at most 10 s. The exchange throws platform_unavailable with AWS's reason, evidence_parse
 * if the CA asks for anything else. There is nothing to close.
 */
export function awsWebIdentityEvidence(
  caller: AwsCaller,
  { trustDomain }: Pick<EvidenceDeps, 'trustDomain'>,
  endpoint?: string,
): EvidenceSource {
  return {
    platform: 'aws-web-identity',
    async begin(_spki, signal) {
      const [credentials, region] = await Promise.all([caller.credentials(signal), caller.region(signal)]);
      return {
        opening: new Uint8Array(),
        async answer(question, binding) {
          ensure(question.length === 0, 'evidence_parse', 'the CA asks for more than a token');
          const audience = audienceOf(trustDomain, binding);
          return utf8(await askForToken({ region, credentials, endpoint, audience, signal }));
        },
        async end() {},
      };
    },
    async close() {},
  };
}

interface TokenRequest {
  readonly region: string;
  readonly credentials: Awaited<ReturnType<AwsCaller['credentials']>>;
  readonly endpoint: string | undefined;
  readonly audience: string;
  readonly signal: AbortSignal;
}

/** Throws platform_unavailable with AWS's reason, such as AccessDenied. */
async function askForToken({
  region,
  credentials,
  endpoint,
  audience,
  signal,
}: TokenRequest): Promise<string> {
  const { GetWebIdentityTokenCommand, STSClient } = await import('@aws-sdk/client-sts');
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  const client = new STSClient({
    region,
    credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) },
    ...(endpoint === undefined ? {} : { endpoint }),
  });
  const command = new GetWebIdentityTokenCommand({
    Audience: [audience],
    SigningAlgorithm: 'ES384',
    DurationSeconds: SECONDS,
  });
  const abortSignal = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  try {
    const { WebIdentityToken: token } = await client.send(command, { abortSignal });
    ensure(token !== undefined, 'platform_unavailable', 'STS answered without a token');
    return token;
  } catch (error) {
    const why = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    throw refusalOf(error, 'platform_unavailable', `sts:GetWebIdentityToken: ${why}`);
  } finally {
    client.destroy();
  }
}

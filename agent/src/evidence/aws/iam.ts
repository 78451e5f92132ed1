/**
 * Evidence from AWS: a signature over sts:GetCallerIdentity that is never sent from here. Mirrors
 * ca/attestors/aws-iam.ts.
 */
import { callerIdentityRequest } from '@chancery/shared/aws/caller-identity.ts';
import { ENDPOINTS, stsHost } from '@chancery/shared/aws/hosts.ts';
import { amzDate, credentialScope, signPost } from '@chancery/shared/aws/sign.ts';
import { packStsAnswer, unpackStsQuestion } from '@chancery/shared/evidence/aws-iam.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { z } from 'zod';
import type { EvidenceDeps, EvidenceKind, EvidenceSource } from '../evidence.ts';
import { type AwsCaller, awsCaller } from './caller.ts';
import { detectAws } from './metadata.ts';

const AwsIamEvidenceConfig = z.strictObject({
  region: z
    .string()
    .min(1)
    .optional()
    .describe('The region whose STS the CA asks (default: AWS_REGION, else that of the instance).'),
});
type AwsIamEvidenceConfig = z.infer<typeof AwsIamEvidenceConfig>;

export const awsIamEvidenceKind: EvidenceKind<AwsIamEvidenceConfig> = {
  platform: 'aws-iam',
  says: "AWS credentials that AWS's SDK finds. The CA asks STS for their principal.",
  schema: AwsIamEvidenceConfig,
  create: ({ region }, deps) => awsIamEvidence(awsCaller(region, deps), deps),
  detect: detectAws,
};

/**
 * Signs for the STS endpoint that the CA asks for. The exchange throws platform_unavailable if AWS gives no
 * credentials, evidence_parse if the CA asks for an unknown endpoint. Needs no closing.
 */
export function awsIamEvidence(caller: AwsCaller, { clock }: Pick<EvidenceDeps, 'clock'>): EvidenceSource {
  return {
    platform: 'aws-iam',
    async begin(_spki, signal) {
      // Done before the exchange is open, because its nonce lives only a minute.
      const [credentials, region] = await Promise.all([caller.credentials(signal), caller.region(signal)]);
      return {
        opening: new Uint8Array(),
        async answer(question, binding) {
          const asked = unpackStsQuestion(question);
          const endpoints = ENDPOINTS.find((each) => each === asked);
          ensure(
            endpoints !== undefined,
            'evidence_parse',
            'the CA asks for a kind of endpoint that is not known',
          );
          const host = stsHost(region, endpoints);
          ensure(host !== undefined, 'platform_unavailable', `"${region}" is not an AWS region`);
          const { accessKeyId, secretAccessKey, sessionToken } = credentials;
          const scope = { service: 'sts', region, date: amzDate(clock.now()) };
          const request = callerIdentityRequest({ host, date: scope.date, sessionToken, binding });
          return packStsAnswer({
            region,
            date: scope.date,
            credential: `${accessKeyId}/${credentialScope(scope)}`,
            sessionToken: sessionToken ?? '',
            signature: signPost(request, scope, secretAccessKey),
          });
        },
        async end() {},
      };
    },
    async close() {},
  };
}

/** Finds this workload's AWS credentials and region, wherever AWS provides them. */

import { boundedProvider } from '@chancery/shared/aws/bounded-provider.ts';
import type { AwsCredentials } from '@chancery/shared/aws/sign.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import type { EvidenceDeps } from '../evidence.ts';
import { regionOfInstance } from './metadata.ts';

export interface AwsCaller {
  /** Valid credentials: the SDK keeps them until shortly before their end. Throws platform_unavailable. */
  credentials(signal: AbortSignal): Promise<AwsCredentials>;
  /** Throws platform_unavailable. */
  region(signal: AbortSignal): Promise<string>;
}

/** The SDK's own search: environment, files, web identity, containers, instance metadata of version 2. */
export function awsCaller(region: string | undefined, deps: EvidenceDeps): AwsCaller {
  const ask = boundedProvider(async () => {
    const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
    return defaultProvider({ ec2MetadataV1Disabled: true });
  });
  return {
    async credentials(signal) {
      try {
        const found = await ask(signal);
        const { accessKeyId, secretAccessKey } = found;
        ensure(accessKeyId !== '' && secretAccessKey !== '', 'platform_unavailable', 'they are empty');
        return found;
      } catch (error) {
        signal.throwIfAborted();
        // Errors of the SDK name where it looked, and never contain a secret.
        const why = error instanceof Error ? error.message : String(error);
        throw new IdentityError('platform_unavailable', `no AWS credentials: ${why}`, { cause: error });
      }
    },
    async region(signal) {
      const { AWS_REGION, AWS_DEFAULT_REGION } = deps.env;
      return region ?? AWS_REGION ?? AWS_DEFAULT_REGION ?? regionOfInstance(deps, signal);
    },
  };
}

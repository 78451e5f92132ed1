/** Who this workload is to AWS: credentials and region, wherever AWS puts them. */
import type { AwsCredentials } from '@chancery/shared/aws/sign.ts';
import { ensure, IdentityError } from '@chancery/shared/errors.ts';
import type { EvidenceDeps } from '../evidence.ts';
import { regionOfInstance } from './metadata.ts';

export interface AwsCaller {
  /** Fresh ones: the SDK keeps them until shortly before their end. Throws platform_unavailable. */
  credentials(signal: AbortSignal): Promise<AwsCredentials>;
  /** Throws platform_unavailable. */
  region(signal: AbortSignal): Promise<string>;
}

/** AWS's SDK sets no limit to how long a metadata answer may take. */
const CREDENTIALS_MS = 10_000;

/** The SDK's own search: environment, files, web identity, containers, instance metadata of version 2. */
export function awsCaller(region: string | undefined, deps: EvidenceDeps): AwsCaller {
  let provider: (() => Promise<AwsCredentials>) | undefined;
  return {
    async credentials(signal) {
      if (provider === undefined) {
        const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
        provider = defaultProvider({ ec2MetadataV1Disabled: true });
      }
      return within(provider(), signal);
    },
    async region(signal) {
      const { AWS_REGION, AWS_DEFAULT_REGION } = deps.env;
      return region ?? AWS_REGION ?? AWS_DEFAULT_REGION ?? regionOfInstance(deps, signal);
    },
  };
}

async function within(credentials: Promise<AwsCredentials>, signal: AbortSignal): Promise<AwsCredentials> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(CREDENTIALS_MS)]);
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(limit.reason);
  limit.addEventListener('abort', abort, { once: true });
  // Where nobody waits for them any more.
  credentials.catch(() => {});
  aborted.promise.catch(() => {});
  try {
    limit.throwIfAborted();
    const found = await Promise.race([credentials, aborted.promise]);
    const { accessKeyId, secretAccessKey } = found;
    ensure(accessKeyId !== '' && secretAccessKey !== '', 'platform_unavailable', 'AWS credentials are empty');
    return found;
  } catch (error) {
    signal.throwIfAborted();
    // What the SDK throws names where it looked, never a secret.
    const why = error instanceof Error ? error.message : String(error);
    throw new IdentityError('platform_unavailable', `no AWS credentials: ${why}`, { cause: error });
  } finally {
    limit.removeEventListener('abort', abort);
  }
}

/** The EC2 instance metadata service, version 2: every request needs a token that only the instance gets. */

import { partitionOf } from '@chancery/shared/aws/hosts.ts';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { ensure, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { OutboundReply } from '@chancery/shared/outbound/http.ts';
import type { Detection, EvidenceDeps } from '../evidence.ts';

type Deps = Pick<EvidenceDeps, 'env' | 'outbound'>;

/** It answers within milliseconds, or does not exist. */
const TIMEOUT_MS = 1_000;
const MAX_BYTES = 4096;
const TTL_SECONDS = '60';

/** AWS's own convention, which its SDK follows too. */
const addressOf = ({ env }: Deps): string =>
  (env['AWS_EC2_METADATA_SERVICE_ENDPOINT'] ?? 'http://169.254.169.254').replace(/\/$/, '');

const bounds = (signal: AbortSignal) => ({ timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES, signal });
const textOf = ({ body }: OutboundReply): string => asBuffer(body).toString('latin1').trim();

/** Throws platform_unavailable. */
async function tokenFrom(deps: Deps, signal: AbortSignal): Promise<string> {
  const reply = await deps.outbound.request({
    url: `${addressOf(deps)}/latest/api/token`,
    method: 'PUT',
    headers: { 'x-aws-ec2-metadata-token-ttl-seconds': TTL_SECONDS },
    ...bounds(signal),
  });
  const token = textOf(reply);
  ensure(
    reply.status === 200 && /^[!-~]+$/.test(token),
    'platform_unavailable',
    `the metadata service answered ${reply.status} instead of a token`,
  );
  return token;
}

/** Throws platform_unavailable. */
export async function regionOfInstance(deps: Deps, signal: AbortSignal): Promise<string> {
  const token = await tokenFrom(deps, signal);
  const reply = await deps.outbound.request({
    url: `${addressOf(deps)}/latest/meta-data/placement/region`,
    headers: { 'x-aws-ec2-metadata-token': token },
    ...bounds(signal),
  });
  const region = textOf(reply);
  const known = reply.status === 200 && partitionOf(region) !== undefined;
  ensure(known, 'platform_unavailable', `the instance metadata tells no region: ${reply.status}`);
  return region;
}

/** Variables with credentials: Lambda and EKS set some, ECS and EKS Pod Identity others; the last are set by hand. */
const SIGNS = [
  'AWS_WEB_IDENTITY_TOKEN_FILE',
  'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI',
  'AWS_CONTAINER_CREDENTIALS_FULL_URI',
  'AWS_ACCESS_KEY_ID',
  'AWS_PROFILE',
];

/** Whether AWS provides credentials to this workload. Asks the service for a token only. */
export async function detectAws(deps: Deps, signal: AbortSignal): Promise<Detection> {
  const sign = SIGNS.find((name) => (deps.env[name] ?? '') !== '');
  if (sign !== undefined) return { usable: true, says: `${sign} is set` };
  if (deps.env['AWS_EC2_METADATA_DISABLED'] === 'true')
    return { usable: false, says: 'no AWS_* variable is set, and AWS_EC2_METADATA_DISABLED is true' };
  try {
    await tokenFrom(deps, signal);
    return { usable: true, says: 'the EC2 instance metadata service gives tokens' };
  } catch (error) {
    const why = isRefusal(error) ? error.message : String(error);
    return { usable: false, says: `no AWS_* variable is set, and no EC2 instance metadata: ${why}` };
  }
}

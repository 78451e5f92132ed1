/** A stand-in for the EC2 instance metadata service, version 2 only: an instance with `HttpTokens: required`. */
import { randomBytes } from 'node:crypto';
import { faultOf } from '../http/form.ts';
import { type Answer, type Received, type Served, serve } from '../http/served.ts';
import type { AccessKey } from './directory.ts';

export interface ImdsOptions {
  readonly role: string;
  readonly region?: string;
  credentials(): AccessKey;
  readonly now?: () => Date;
  /** Network hops between the caller and the host; a container has one more. */
  readonly hops?: number;
  /** `HttpPutResponseHopLimit`: a reply with a token travels no further. */
  readonly hopLimit?: number;
}

const [MIN_TTL_SECONDS, MAX_TTL_SECONDS] = [1, 21_600];
const CREDENTIALS = '/latest/meta-data/iam/security-credentials/';

export async function startImds(options: ImdsOptions): Promise<Served> {
  const { now = () => new Date(), hops = 1, hopLimit = 1 } = options;
  const tokens = new Map<string, Date>();
  const served = await serve(
    (received) => {
      const fault = faultOf(received, { methods: ['GET', 'PUT'] });
      if (fault !== undefined) return { status: fault.status };
      if (received.method === 'PUT') return giveToken(received, tokens, now());
      const [token = ''] = received.headers.get('x-aws-ec2-metadata-token') ?? [];
      const until = tokens.get(token);
      return until === undefined || until <= now() ? { status: 401 } : tell(received, options);
    },
    { now },
  );
  if (hops > hopLimit) {
    // The packet with the token dies on its way; what needs a token is refused, and the refusal arrives.
    served.spoil((answer, { method }) => (method === 'PUT' ? { ...answer, status: 408, body: '' } : answer));
  }
  return served;
}

function giveToken({ target, headers }: Received, tokens: Map<string, Date>, now: Date): Answer {
  if (target !== '/latest/api/token') return { status: 404 };
  // What came through a proxy is not the instance's own.
  if (headers.has('x-forwarded-for')) return { status: 403 };
  const ttl = Number(headers.get('x-aws-ec2-metadata-token-ttl-seconds')?.[0]);
  if (!Number.isInteger(ttl) || ttl < MIN_TTL_SECONDS || ttl > MAX_TTL_SECONDS) return { status: 400 };
  const token = randomBytes(40).toString('base64');
  tokens.set(token, new Date(now.getTime() + ttl * 1000));
  return text(token, { 'x-aws-ec2-metadata-token-ttl-seconds': String(ttl) });
}

function tell(
  { target }: Received,
  { role, region = 'eu-west-1', credentials, now = () => new Date() }: ImdsOptions,
): Answer {
  if (target === '/latest/meta-data/placement/region') return text(region);
  if (target === CREDENTIALS) return text(role);
  if (target !== `${CREDENTIALS}${role}`) return { status: 404 };
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = credentials();
  const document = {
    Code: 'Success',
    LastUpdated: now().toISOString(),
    Type: 'AWS-HMAC',
    AccessKeyId: accessKeyId,
    SecretAccessKey: secretAccessKey,
    Token: sessionToken,
    Expiration: expiration?.toISOString(),
  };
  return text(JSON.stringify(document, undefined, 2));
}

const text = (body: string, headers: Record<string, string> = {}): Answer => ({
  status: 200,
  headers: { 'content-type': 'text/plain', ...headers },
  body,
});

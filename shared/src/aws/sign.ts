/**
 * Signature Version 4 for requests of one shape: POST to `/` without a query. The agent signs with it; what the
 * signature covers is fixed, so that the CA can write the same request again from a few values.
 */
import { createHash, createHmac } from 'node:crypto';

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary credentials. */
  readonly sessionToken?: string | undefined;
}

export interface Scope {
  readonly service: string;
  readonly region: string;
  /** X-Amz-Date: "20261120T101112Z". */
  readonly date: string;
}

/** All of it is signed. Names are in lower case, values as they travel. */
export interface PostRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const ALGORITHM = 'AWS4-HMAC-SHA256';

/** X-Amz-Date: UTC to the second, as in "20261120T101500Z". */
export const amzDate = (time: Date): string => time.toISOString().replace(/[-:]|\.\d{3}/g, '');

/** "20261120/eu-west-1/sts/aws4_request". */
export const credentialScope = ({ service, region, date }: Scope): string =>
  `${date.slice(0, 8)}/${region}/${service}/aws4_request`;

/** 32 bytes. */
export function signPost({ headers, body }: PostRequest, scope: Scope, secretAccessKey: string): Uint8Array {
  const names = signedNames(headers);
  const canonical = [
    'POST',
    '/',
    '',
    ...names.map((name) => `${name}:${headers[name]}`),
    '',
    names.join(';'),
    sha256(body),
  ].join('\n');
  const toSign = [ALGORITHM, scope.date, credentialScope(scope), sha256(canonical)].join('\n');
  const key = credentialScope(scope)
    .split('/')
    .reduce<string | Buffer>((key, part) => hmac(key, part), `AWS4${secretAccessKey}`);
  return hmac(key, toSign);
}

/** The header that carries a signature over all of `headers`; `credential` is the access key id and the scope. */
export const authorization = (
  credential: string,
  headers: PostRequest['headers'],
  signature: Uint8Array,
): string =>
  `${ALGORITHM} Credential=${credential}, SignedHeaders=${signedNames(headers).join(';')}, ` +
  `Signature=${Buffer.from(signature).toString('hex')}`;

const signedNames = (headers: PostRequest['headers']): readonly string[] => Object.keys(headers).toSorted();
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();

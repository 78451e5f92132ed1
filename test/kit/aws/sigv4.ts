/**
 * The verifying side of Signature Version 4, as a service has it. Written from "Create a signed AWS API request" in the
 * IAM User Guide and shares no code with what signs, so that each judges the other.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Received } from '../http/served.ts';
import { AwsError } from './aws-error.ts';
import type { AccessKey, Directory, Principal } from './directory.ts';

export interface Scope {
  readonly service: string;
  readonly region: string;
}

export interface Caller {
  readonly key: AccessKey;
  readonly principal: Principal;
}

const SKEW_MS = 15 * 60_000;
const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^\s,/]+)\/([^\s,]+), ?SignedHeaders=([^\s,]+), ?Signature=([^\s,]+)$/;

type Keys = Pick<Directory, 'lookUp'>;

/** Throws AwsError, as the service would answer. */
export function authenticate(received: Received, directory: Keys, scope: Scope, now: Date): Caller {
  const header = one(received, 'authorization');
  if (header === undefined)
    throw new AwsError(403, 'MissingAuthenticationToken', 'Request is missing Authentication Token');
  const [, accessKeyId = '', credentialScope = '', signedHeaders = '', signature = ''] =
    AUTHORIZATION.exec(header) ?? [];
  if (signature === '')
    throw incomplete('Authorization header requires Credential, SignedHeaders, Signature');
  const date = one(received, 'x-amz-date') ?? '';
  const time = timeOf(date);
  if (time === undefined) throw incomplete("Date must be in ISO-8601 'basic format'");
  checkSignedHeaders(received, signedHeaders.split(';'));
  const caller = findCaller(received, directory, accessKeyId, now);
  checkScope(credentialScope, date, scope);
  checkTime(date, time, now);
  const expected = signatureOf(received, signedHeaders, { date, scope, secret: caller.key.secretAccessKey });
  if (!same(expected, signature)) throw mismatch(DOES_NOT_MATCH);
  return caller;
}

const DOES_NOT_MATCH =
  'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key ' +
  'and signing method. Consult the service documentation for details.';
const INVALID_TOKEN = 'The security token included in the request is invalid.';
const mismatch = (message: string): AwsError => new AwsError(403, 'SignatureDoesNotMatch', message);
const incomplete = (message: string): AwsError => new AwsError(400, 'IncompleteSignature', message);
const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Uint8Array, data: string): Buffer =>
  createHmac('sha256', key).update(data).digest();
const same = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));

function one({ headers }: Received, name: string): string | undefined {
  const values = headers.get(name);
  if (values !== undefined && values.length > 1) throw incomplete(`${name} must not be repeated`);
  return values?.[0];
}

/** "20261120T101112Z", a time that exists. */
function timeOf(date: string): Date | undefined {
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date) ?? [];
  const time = new Date(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`);
  return Number.isNaN(time.getTime()) ? undefined : time;
}

/** The host and every x-amz- header must be signed; names are in lower case and in order. */
function checkSignedHeaders({ headers }: Received, signed: readonly string[]): void {
  const ordered = signed.toSorted();
  if (signed.some((name, at) => name !== ordered[at] || name !== name.toLowerCase() || !headers.has(name)))
    throw mismatch(DOES_NOT_MATCH);
  const needed = [...headers.keys()].filter((name) => name === 'host' || name.startsWith('x-amz-'));
  const missing = needed.filter((name) => !signed.includes(name));
  if (missing.length > 0)
    throw new AwsError(
      403,
      'AccessDenied',
      `There were headers present in the request which were not signed: ${missing}`,
    );
}

function findCaller(received: Received, directory: Keys, accessKeyId: string, now: Date): Caller {
  const found = directory.lookUp(accessKeyId);
  const token = one(received, 'x-amz-security-token');
  if (found === undefined || !same(found.key.sessionToken ?? '', token ?? ''))
    throw new AwsError(403, 'InvalidClientTokenId', INVALID_TOKEN);
  const { expiration } = found.key;
  if (expiration !== undefined && expiration <= now)
    throw new AwsError(403, 'ExpiredToken', 'The security token included in the request is expired');
  return found;
}

function checkScope(given: string, date: string, { service, region }: Scope): void {
  const [day, inRegion, ofService, terminator, ...more] = given.split('/');
  if (terminator !== 'aws4_request' || more.length > 0)
    throw mismatch("Credential should be scoped with a valid terminator: 'aws4_request'.");
  if (ofService !== service) throw mismatch(`Credential should be scoped to correct service: '${service}'.`);
  if (inRegion !== region) throw mismatch('Credential should be scoped to a valid region.');
  if (day !== date.slice(0, 8))
    throw mismatch(
      `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${day}'`,
    );
}

function checkTime(date: string, time: Date, now: Date): void {
  const late = now.getTime() - time.getTime();
  if (late > SKEW_MS)
    throw mismatch(`Signature expired: ${date} is now earlier than ${now.toISOString()} - 15 min.`);
  if (-late > SKEW_MS)
    throw mismatch(`Signature not yet current: ${date} is still later than ${now.toISOString()}`);
}

interface Signing {
  readonly date: string;
  readonly scope: Scope;
  readonly secret: string;
}

function signatureOf(received: Received, signedHeaders: string, { date, scope, secret }: Signing): string {
  const { method, target, headers, body } = received;
  const [path = '', query = ''] = target.split('?', 2);
  const values = (name: string): string =>
    (headers.get(name) ?? []).map((value) => value.trim().replace(/ +/g, ' ')).join(',');
  const canonical = [
    method,
    canonicalPath(path),
    canonicalQuery(query),
    ...signedHeaders.split(';').map((name) => `${name}:${values(name)}`),
    '',
    signedHeaders,
    sha256(body),
  ].join('\n');
  const credentialScope = `${date.slice(0, 8)}/${scope.region}/${scope.service}/aws4_request`;
  const toSign = ['AWS4-HMAC-SHA256', date, credentialScope, sha256(canonical)].join('\n');
  const key = credentialScope
    .split('/')
    .reduce<string | Buffer>((so_far, part) => hmac(so_far, part), `AWS4${secret}`);
  return hmac(key, toSign).toString('hex');
}

const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`);

/** Every service but S3 normalises the path and encodes each segment twice: here once, over what was sent. */
function canonicalPath(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split('/'))
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(encode(segment));
  return `/${segments.join('/')}${segments.length > 0 && path.endsWith('/') ? '/' : ''}`;
}

function canonicalQuery(query: string): string {
  return query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => pair.split('=', 2).map((part) => encode(decodeURIComponent(part))))
    .map(([name = '', value = '']) => `${name}=${value}`)
    .toSorted()
    .join('&');
}

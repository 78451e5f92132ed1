/** Asks STS who signed: writes the agent's request again, sends it, and reads the answer strictly. */

import { callerIdentityRequest } from '@chancery/shared/aws/caller-identity.ts';
import { authorization } from '@chancery/shared/aws/sign.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type Json, type JsonObject, parseJson } from '@chancery/shared/ground/json.ts';
import type { Outbound, OutboundReply } from '@chancery/shared/outbound/http.ts';
import { type PrincipalArn, parsePrincipalArn } from './arn.ts';
import { parseXml } from './sts-xml.ts';

export interface SignedCall {
  readonly host: string;
  readonly date: string;
  readonly credential: string;
  readonly sessionToken: string | undefined;
  readonly binding: Uint8Array;
  readonly signature: Uint8Array;
}

/** What STS says of the principal whose key signed. */
export interface CallerIdentity extends PrincipalArn {
  /**
   * An id that is never reused: "AROA..." for a role, "AIDA..." for a user, the account for root, the name for a
   * federated user.
   */
  readonly uniqueId: string;
}

const TIMEOUT_MS = 10_000;
/** A genuine answer has some 400 bytes. */
const MAX_BYTES = 16 * 1024;
const LIMITS = { code: 'sts_response', maxBytes: MAX_BYTES, maxDepth: 4 } as const;

/** Throws sts_refused, sts_response, platform_unavailable. */
export async function askSts(
  { credential, signature, ...varying }: SignedCall,
  url: string,
  outbound: Outbound,
): Promise<CallerIdentity> {
  const { headers, body } = callerIdentityRequest(varying);
  const reply = await outbound.request({
    url,
    method: 'POST',
    headers: { ...headers, authorization: authorization(credential, headers, signature) },
    body,
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_BYTES,
  });
  if (reply.status !== 200) throw refusalOf(reply);
  return readIdentity(read(reply));
}

const mediaType = ({ contentType }: OutboundReply): string =>
  contentType.split(';', 1)[0]?.trim().slice(0, 100) ?? '';

/** The CA asks for JSON. An endpoint that knows only XML sends XML. Both are read into the same members. */
function read(reply: OutboundReply): Json {
  const type = mediaType(reply);
  if (/^(text|application)\/xml$/i.test(type)) return parseXml(decode(reply.body), 'sts_response');
  const json = /^application\/(x-amz-)?json/i.test(type);
  ensure(json, 'sts_response', `STS answered ${type}, neither JSON nor XML`);
  return parseJson(reply.body, LIMITS);
}

function decode(body: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch (error) {
    throw new IdentityError('sts_response', "STS's answer is not UTF-8", { cause: error });
  }
}

/** The operator gets the code of STS, but not its message or the request, which may contain a token. */
function refusalOf(reply: OutboundReply): IdentityError {
  const { status } = reply;
  if (status >= 300 && status < 400)
    return new IdentityError('sts_response', `STS answered ${status}: a redirect is not followed`);
  const code = errorCode(reply);
  const busy = status === 429 || status >= 500 || code === 'Throttling' || code === 'RequestLimitExceeded';
  const detail = code === undefined ? `STS answered ${status}` : `STS refused: ${code}`;
  return new IdentityError(busy ? 'platform_unavailable' : 'sts_refused', detail);
}

function errorCode(reply: OutboundReply): string | undefined {
  try {
    const answer = objectIn(read(reply));
    // XML has a root around it.
    const whole = isJsonObject(answer['ErrorResponse']) ? answer['ErrorResponse'] : answer;
    const code = member(objectIn(whole, 'Error'), 'Code');
    return /^[A-Za-z.]{1,64}$/.test(code) ? code : undefined;
  } catch {
    return undefined;
  }
}

/** {"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Account","Arn","UserId"},"ResponseMetadata":{...}}}. */
function readIdentity(answer: Json): CallerIdentity {
  const whole = objectIn(answer);
  const response = objectIn(whole, 'GetCallerIdentityResponse');
  ensureOnly(whole, ['GetCallerIdentityResponse']);
  ensureOnly(response, ['GetCallerIdentityResult', 'ResponseMetadata']);
  const result = objectIn(response, 'GetCallerIdentityResult');
  const principal = parsePrincipalArn(member(result, 'Arn'), 'sts_response');
  const account = member(result, 'Account');
  ensure(account === principal.account, 'sts_response', "STS's account is not the one of its ARN");
  return { ...principal, uniqueId: uniqueIdOf(principal, member(result, 'UserId')) };
}

/** Throws if there are other members: an answer with an error beside it is ambiguous. */
function ensureOnly(object: JsonObject, names: readonly string[]): void {
  const strange = Object.keys(object).find((name) => !names.includes(name));
  ensure(
    strange === undefined,
    'sts_response',
    `STS's answer has an unexpected member ${strange?.slice(0, 40)}`,
  );
}

/** "Principal key values" in the IAM User Guide: aws:userid. */
function uniqueIdOf({ kind, account, name, session }: PrincipalArn, userId: string): string {
  const [id = '', ...rest] = userId.split(':');
  const after = rest.join(':');
  const holds = {
    'assumed-role': /^AROA[A-Z0-9]{12,60}$/.test(id) && after === session,
    user: /^AIDA[A-Z0-9]{12,60}$/.test(userId),
    'federated-user': id === account && after === name,
    root: userId === account,
    role: false,
  };
  ensure(holds[kind], 'sts_response', `STS's user id is not one of the ${kind} that its ARN names`);
  return kind === 'federated-user' ? after : id;
}

function objectIn(value: Json | undefined, name?: string): JsonObject {
  const found = name === undefined || !isJsonObject(value) ? value : value[name];
  ensure(isJsonObject(found), 'sts_response', `STS's answer has no ${name ?? 'object'}`);
  return found;
}

function member(object: JsonObject, name: string): string {
  const value = object[name];
  ensure(typeof value === 'string', 'sts_response', `STS's answer has no ${name}, or one that is no text`);
  return value;
}

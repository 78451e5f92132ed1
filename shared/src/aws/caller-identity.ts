/**
 * The one request that an agent signs and the CA writes again and sends: sts:GetCallerIdentity, bound to a key by a
 * header of ours. Only the values in `Varying` differ, so a client cannot change anything else.
 */
import { hex } from '../ground/bytes.ts';
import type { PostRequest } from './sign.ts';

export interface Varying {
  /** From the table in hosts.ts. */
  readonly host: string;
  /** X-Amz-Date. */
  readonly date: string;
  readonly sessionToken: string | undefined;
  /** What ties the request to one key, one exchange and one trust domain. */
  readonly binding: Uint8Array;
}

/** STS does not use it, but refuses a request whose value is not the signed one. */
const BINDING_HEADER = 'x-chancery-binding';

/** The request without its signature. The agent and the CA get the same bytes from the same values. */
export function callerIdentityRequest({ host, date, sessionToken, binding }: Varying): PostRequest {
  return {
    headers: {
      accept: 'application/json',
      'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
      host,
      'x-amz-date': date,
      ...(sessionToken === undefined ? {} : { 'x-amz-security-token': sessionToken }),
      [BINDING_HEADER]: hex(binding),
    },
    body: 'Action=GetCallerIdentity&Version=2011-06-15',
  };
}

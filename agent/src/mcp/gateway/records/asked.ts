/** What events say of the questions of servers, and of answers inside requests. */
import type { Id } from '@chancery/shared/mcp/message.ts';
import type { What } from '@chancery/shared/policy/call.ts';
import type { Allowed, Denied } from '@chancery/shared/policy/decision.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { type Fields, type Input, named, type Ruling, said } from './fields.ts';

/** A question of a server. */
export interface AskedBy {
  readonly method: string;
  /** The server's id of the request; in the modern era its name for the input request. */
  readonly requestId: Id;
  /** What it was asked during. */
  readonly what: What | undefined;
  readonly policy: Policy;
  readonly session: string | undefined;
  /** SHA-256 of what was asked, as JSON. */
  readonly paramsSha256: string | undefined;
}

/** Of a question, and how it was decided. */
export function askedFields(
  { method, requestId, what, policy, session, paramsSha256 }: AskedBy,
  decision: Allowed | Denied,
): Fields {
  return {
    ...{ from: 'server', kind: 'request', method, requestId, session },
    ...named(what),
    ...said(decision),
    policyVersion: Number(policy.version),
    argumentsSha256: paramsSha256,
  };
}

/** Of an answer inside a request that was allowed. */
export function inputFields(
  { key, method, resultSha256 }: Omit<Input, 'recordId'>,
  { use, decision, policy }: Ruling,
): Fields {
  return {
    ...{ from: 'client', kind: 'response', method, requestId: key },
    ...named(use),
    ...said(decision),
    policyVersion: Number(policy.version),
    ...{ outcome: 'result', resultSha256 },
  };
}

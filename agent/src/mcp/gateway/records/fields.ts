/** What an event says of one message: what it was, and how it was decided. */
import { isJsonObject } from '@chancery/shared/ground/json.ts';
import type { Message, Response } from '@chancery/shared/mcp/message.ts';
import type { What } from '@chancery/shared/policy/call.ts';
import type { Allowed, Denied } from '@chancery/shared/policy/decision.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import { type CallEvent, sha256 } from '../../call-event.ts';
import type { Use } from '../judge/reader.ts';
import type { Question } from '../questions.ts';
import { argumentsInClear } from './clear.ts';

/** Of an event, without what the recorder itself knows. */
export type Fields = Omit<CallEvent, 'id' | 'stage' | 'time' | 'caller' | 'serial' | 'scope' | 'server'>;

/** A caller, by its certificate. */
export type Caller = Pick<VerifiedSvid, 'id' | 'serial' | 'attested'>;

/** Who made the message, with the scope of its certificate. */
export const calledBy = (peer: Caller | undefined): Pick<CallEvent, 'caller' | 'serial' | 'scope'> => ({
  caller: peer?.id,
  serial: peer?.serial,
  scope: peer?.attested.scope,
});

export interface DecidedByHead {
  readonly policy: Policy;
  readonly session: string | undefined;
  /** What the request is, where its method and path alone do not say it. */
  readonly detail?: string;
}

/** A decision, as it is carried out. */
export interface Ruling extends DecidedByHead {
  readonly decision: Allowed | Denied;
  readonly use: Use | undefined;
  /** Whether the caller may reach the server at all. */
  readonly reaches: boolean;
  readonly bytes: number;
  /** The question of the server that the message answers. */
  readonly question?: Question | undefined;
  /** Answers inside the message. */
  readonly inputs?: readonly Input[];
}

/** An answer inside a request, to a question that an earlier result asked. */
export interface Input {
  /** Of the question, where it is known. */
  readonly recordId: string;
  readonly key: string;
  readonly method: string;
  readonly resultSha256: string;
}

/** How a message was decided. */
export function said(
  decision: Allowed | Denied,
): Pick<CallEvent, 'allow' | 'observed' | 'rule' | 'reason' | 'approval'> {
  const { allow, rule, reason } = decision;
  if (!allow) return { allow, rule, reason, approval: decision.approval };
  return decision.observed === undefined ? { allow, rule, reason } : { allow, observed: true, rule, reason };
}

/** A decided message, at this McpServer. */
export function decidedFields(
  message: Message,
  server: string,
  { decision, use, policy, session, bytes, question }: Ruling,
): Fields {
  return {
    from: 'client',
    ...describe(message),
    ...(question === undefined || message.kind !== 'response' ? {} : answerFields(message, question)),
    ...(question !== undefined && !decision.allow ? { outcome: undefined } : {}),
    ...named(use),
    ...givenTo(use, policy, server),
    ...said(decision),
    policyVersion: Number(policy.version),
    session,
    bytes,
  };
}

/** The answer of a client to a question, under the id that the server gave it. */
function answerFields(answer: Response, { method, during, asked, startedMs }: Question): Partial<Fields> {
  const { result, error } = answer;
  return {
    method,
    ...named(during[0]?.what),
    requestId: asked,
    outcome: error === undefined ? 'result' : 'error',
    rpcCode: error?.code,
    resultSha256: result === undefined ? undefined : sha256(JSON.stringify(result)),
    latencyMs: performance.now() - startedMs,
  };
}

const WITHOUT_ARGUMENTS: ReadonlySet<Use['kind']> = new Set(['resource', 'subscription', 'task', 'logging']);

/** Only tools have arguments in clear: a prompt of the same name is something else. */
function givenTo(
  use: Use | undefined,
  policy: Policy,
  server: string,
): Pick<CallEvent, 'arguments' | 'argumentsSha256'> {
  if (use === undefined || WITHOUT_ARGUMENTS.has(use.kind)) return {};
  const clear = use.kind === 'tool' ? argumentsInClear(policy, server, use) : undefined;
  return { arguments: clear, argumentsSha256: sha256(JSON.stringify(use.arguments)) };
}

/** What was asked for by name. Of a completion it is what was completed. */
export function named(what: What | undefined): Pick<CallEvent, 'tool' | 'resource' | 'prompt'> {
  if (what === undefined) return {};
  const { name, of = what.kind } = what;
  if (of === 'logging') return {};
  if (of === 'tool') return { tool: name };
  return of === 'prompt' ? { prompt: name } : { resource: name };
}

/** What the message is. */
export function describe(message: Message): Pick<CallEvent, 'kind' | 'method' | 'requestId' | 'traceparent'> {
  const { kind } = message;
  if (kind === 'response') return { kind, requestId: message.id };
  const requestId = kind === 'request' ? message.id : undefined;
  const meta = message.params?.['_meta'];
  const trace = isJsonObject(meta) ? meta['traceparent'] : undefined;
  const traceparent = typeof trace === 'string' && TRACEPARENT.test(trace) ? trace : undefined;
  return { kind, method: message.method, requestId, traceparent };
}

/** W3C Trace Context section 3.2.2. */
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

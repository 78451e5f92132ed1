/** What the gateway records: one event when something is decided, one when it is answered. */
import { hash } from 'node:crypto';
import type { Refusal } from '@chancery/shared/ground/errors.ts';
import type { Id } from '@chancery/shared/mcp/message.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

export interface CallEvent {
  /** Joins an answer to its request; a denied caller is shown it as `decisionId`. */
  readonly id: string;
  /**
   * `decided`: allowed or denied by a rule, or by the lack of one. `answered`: the server's answer was passed
   * on, or the caller left before it came. `refused`: it could not be read or breaks the protocol. `dropped`:
   * likewise, from the server. `ended`: a session is over. `claimed`: an open call goes on under a newer certificate.
   */
  readonly stage: 'decided' | 'answered' | 'refused' | 'dropped' | 'ended' | 'claimed';
  readonly time: Date;
  readonly from: 'client' | 'server';
  readonly caller: SpiffeId | undefined;
  /** Of the caller's certificate, hexadecimal. */
  readonly serial: string | undefined;
  /** Where a stranger's connection came from: an IPv4 address or an IPv6 /48. */
  readonly address?: string | undefined;
  readonly server: string;
  /** Of what has no message, or none that was read. */
  readonly httpMethod?: string | undefined;
  /** Where the record stands for several events of one kind, of which it is the last; since when. */
  readonly count?: number | undefined;
  readonly since?: Date | undefined;
  readonly kind?: 'request' | 'notification' | 'response' | undefined;
  /** Ours, as the client knows it. */
  readonly session?: string | undefined;
  readonly method?: string | undefined;
  readonly tool?: string | undefined;
  readonly requestId?: Id | undefined;
  readonly allow?: boolean | undefined;
  readonly rule?: string | undefined;
  readonly reason?: string | undefined;
  /** `nobody`: a rule asks for an approval, and nobody can give one. */
  readonly approval?: 'nobody' | undefined;
  readonly policyVersion?: number | undefined;
  /** SHA-256 of the arguments as JSON, as they are forwarded. */
  readonly argumentsSha256?: string | undefined;
  readonly outcome?: 'result' | 'error' | 'abandoned' | 'unknown' | undefined;
  /** Of the server's error, where the outcome is one. */
  readonly rpcCode?: number | undefined;
  /** SHA-256 of the result as JSON, as it is forwarded. */
  readonly resultSha256?: string | undefined;
  readonly code?: Refusal | undefined;
  readonly detail?: string | undefined;
  /** Milliseconds from reading the request to writing its answer. */
  readonly latencyMs?: number | undefined;
  /** Of the body or the answer. */
  readonly bytes?: number | undefined;
  /** W3C trace context, as the client put it in `_meta`. */
  readonly traceparent?: string | undefined;
}

/**
 * Called synchronously, before the messages go on. May throw, which refuses them: no record, no call. Several at once
 * are decisions and answers of one turn of the event loop.
 */
export type RecordCall = (...events: readonly CallEvent[]) => void;

/** SHA-256 of the UTF-8 text: 64 lower-case hexadecimal digits. */
export function sha256(json: string): string {
  return hash('sha256', json, 'hex');
}

/** In a record; longer text is cut. Longer than any SPIFFE ID, session or name of a tool that a rule can allow. */
const MAX_TEXT = 2_048;

/** The event with no text longer than a record holds. */
export function bounded(event: CallEvent): CallEvent {
  const long = Object.entries(event).filter(
    ([, value]) => typeof value === 'string' && value.length > MAX_TEXT,
  );
  if (long.length === 0) return event;
  return { ...event, ...Object.fromEntries(long.map(([key, value]) => [key, cut(String(value))])) };
}

function cut(text: string): string {
  return `${text.slice(0, 256).toWellFormed()}... (${text.length} characters)`;
}

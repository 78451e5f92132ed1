/** What the gateway records: one event when something is decided, one when it is answered. */
import { hash } from 'node:crypto';
import { masked } from '@chancery/shared/audit/masked.ts';
import type { Refusal } from '@chancery/shared/ground/errors.ts';
import type { Id } from '@chancery/shared/mcp/message.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';

export interface CallEvent {
  /** The same for a request and its answer. A denied caller sees it as `decisionId`. */
  readonly id: string;
  /**
   * `decided`: a rule, or the lack of one, allowed or denied the message. `answered`: the server's answer was passed
   * on, or the caller left before it came. `refused`: a message of the caller could not be read or breaks the protocol.
   * `dropped`: the same for a message of the server. `ended`: a session is over. `claimed`: an open call continues
   * under a newer certificate.
   */
  readonly stage: 'decided' | 'answered' | 'refused' | 'dropped' | 'ended' | 'claimed';
  readonly time: Date;
  readonly from: 'client' | 'server';
  readonly caller: SpiffeId | undefined;
  /** The serial of the caller's certificate, hexadecimal. */
  readonly serial: string | undefined;
  /** The narrower grant that the certificate has. */
  readonly scope?: string | undefined;
  /** Where a stranger's connection came from: an IPv4 address or an IPv6 /48. */
  readonly address?: string | undefined;
  readonly server: string;
  /** Set where the request has no message, or its message was not read. */
  readonly httpMethod?: string | undefined;
  /** Set where the record is the last of several events of one kind: how many, and since when. */
  readonly count?: number | undefined;
  readonly since?: Date | undefined;
  readonly kind?: 'request' | 'notification' | 'response' | undefined;
  /** The gateway's id of the session, which the client knows. */
  readonly session?: string | undefined;
  readonly method?: string | undefined;
  readonly tool?: string | undefined;
  /** The URI of a resource that was read, or the text of the template whose argument was completed. */
  readonly resource?: string | undefined;
  /** The prompt that was got, or whose argument was completed. */
  readonly prompt?: string | undefined;
  readonly requestId?: Id | undefined;
  readonly allow?: boolean | undefined;
  /** Set if the rules deny it, and it passed because the McpServer observes. */
  readonly observed?: true | undefined;
  readonly rule?: string | undefined;
  readonly reason?: string | undefined;
  /** `nobody`: a rule asks for an approval, and nobody can give one. */
  readonly approval?: 'nobody' | undefined;
  readonly policyVersion?: number | undefined;
  /** Arguments in clear, by JSON Pointer: those that the McpServer names, with text as they were written. */
  readonly arguments?: Readonly<Record<string, string>> | undefined;
  /** SHA-256 of the arguments, as the JSON that is forwarded. */
  readonly argumentsSha256?: string | undefined;
  readonly outcome?: 'result' | 'error' | 'abandoned' | 'unknown' | undefined;
  /** The code of the server's error, where the outcome is an error. */
  readonly rpcCode?: number | undefined;
  /** SHA-256 of the result, as the JSON that is forwarded. */
  readonly resultSha256?: string | undefined;
  readonly code?: Refusal | undefined;
  readonly detail?: string | undefined;
  /** Milliseconds from reading the request to writing its answer. */
  readonly latencyMs?: number | undefined;
  /** The size of the body or of the answer. */
  readonly bytes?: number | undefined;
  /** W3C trace context from the `_meta` of the client's message. */
  readonly traceparent?: string | undefined;
}

/**
 * Called synchronously, before the messages are forwarded. If it throws, the messages are refused: no record, no call.
 * Several events are the decisions and answers of one turn of the event loop.
 */
export type RecordCall = (...events: readonly CallEvent[]) => void;

/** SHA-256 of the UTF-8 text: 64 lower-case hexadecimal digits. */
export function sha256(json: string): string {
  return hash('sha256', json, 'hex');
}

/** Longer text is cut in a record. No SPIFFE ID, session or tool name that a rule can allow is longer. */
const MAX_TEXT = 2_048;

/** What the gateway itself found out: never masked, whatever it looks like. */
const OWN: ReadonlySet<string> = new Set(['id', 'stage', 'caller', 'serial', 'scope', 'server']);

/** The event without known secrets, and its text cut after that: a part of a secret has no known shape. */
export function bounded(event: CallEvent): CallEvent {
  const changed = Object.entries(event).flatMap(([key, value]): [string, string][] => {
    if (typeof value !== 'string' || OWN.has(key)) return [];
    const safe = masked(value);
    const kept = safe.length > MAX_TEXT ? cut(safe, SHORT_TEXT) : safe;
    return kept === value ? [] : [[key, kept]];
  });
  return changed.length === 0 ? event : { ...event, ...Object.fromEntries(changed) };
}

const SHORT_TEXT = 256;

/** The beginning of a text, and how long it was. */
export function cut(text: string, most: number): string {
  return `${text.slice(0, most).toWellFormed()}... (${text.length} characters)`;
}

/** The seam between the gateway and the MCP server behind it, over HTTP or stdio. */
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { Message, Response } from '@chancery/shared/mcp/message.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { reasonOf } from '../wire/answer/reason.ts';
import type { Account } from './account.ts';

/** Where the MCP server is. */
export type UpstreamTarget =
  | {
      readonly kind: 'url';
      readonly url: URL;
      /** Of an https server; by default the system's roots. */
      readonly trust?: UpstreamTrust | undefined;
    }
  | { readonly kind: 'unix'; readonly path: string; readonly endpoint: string }
  | {
      readonly kind: 'command';
      readonly command: readonly [string, ...string[]];
      /** The server's whole environment; make it with `allowedEnvironment`. */
      readonly env: Readonly<Record<string, string>>;
      /** The user that it runs as; by default the agent's. */
      readonly account?: Account | undefined;
    };

/** How an https server proves who it is, where the system's roots do not know it. */
export type UpstreamTrust =
  | {
      readonly kind: 'roots';
      /** PEM. Called for each connection, so that a replaced file counts. Throws what reading throws. */
      readonly read: () => string;
    }
  | SpiffeTrust;

/** Mutual TLS with our own SVID. The server has to have exactly this SPIFFE ID; its DNS name is not looked at. */
export interface SpiffeTrust {
  readonly kind: 'spiffe';
  readonly identity: SpiffeId;
  readonly svid: Source<Svid>;
  readonly bundle: Source<Bundle>;
  readonly revocations: Source<RevocationSet>;
  readonly clock: Clock;
}

export type CommandTarget = Extract<UpstreamTarget, { kind: 'command' }>;

export interface Upstream {
  /** The most sessions it can hold at once. */
  readonly maxSessions: number;
  /** Set if all that the server says in a session comes on one channel: what it is about is not known. */
  readonly oneChannel?: true;
  /** Passes one message on. The answer goes to `back`, at once or later. */
  send(outbound: Outbound, back: Back): void;
  /**
   * Opens the stream for messages that a legacy server sends unasked. If the server has none, only the gateway writes
   * to it.
   */
  listen(outbound: Outbound, back: Back): void;
  /** Ends a legacy session for its client. */
  end(outbound: Outbound, back: Back): void;
  /** Answers a request of the server that no rule allows. */
  refuse(session: string | undefined, answer: Response): void;
  /** Frees what an ended session holds. */
  forget(session: string): void;
  /** Calls back with the name of each session that has ended at the server by itself. */
  onSessionEnd(listener: (session: string) => void): void;
  /** Resolves when everything has ended. */
  close(): Promise<void>;
}

export interface Outbound {
  readonly caller: SpiffeId;
  readonly era: 'legacy' | 'modern';
  readonly message: Message | undefined;
  /** The name that the upstream gave by `Back.session`. */
  readonly session: string | undefined;
  /** Chosen by an allow-list before. */
  readonly headers: Readonly<Record<string, string>>;
}

/** The way back to one HTTP request of one client. Exactly one of `answer`, `open`...`end` and `fail` is used. */
export interface Back {
  /** The upstream's name for the session that this `initialize` began. Called before the answer. */
  session(name: string): void;
  /** The whole answer, with its HTTP status. */
  answer(status: number, message: Message | undefined): void;
  /** Begins an event stream. */
  open(): void;
  /** False asks for a pause until `onDrain`. */
  event(place: Place, message: Message | undefined): boolean;
  /** Writes a comment to the stream, so that it does not look idle. */
  keepAlive(): void;
  /** Ends the event stream. */
  end(): void;
  /** The upstream no longer holds the message in our memory: it was sent whole, or never will be. */
  sent(): void;
  /** Called before `sent` if others need the memory that the message takes. The client has been refused by then. */
  onLost(listener: () => void): void;
  /** The client has its answer. Whatever else the upstream sends goes to nobody. */
  readonly answered: boolean;
  /** Answers with an error. */
  fail(error: IdentityError): void;
  /** Says how many bytes of incomplete messages are held for this client. */
  holding(bytes: number): void;
  /** The client has cancelled the request, so no answer comes. */
  cancelled(): void;
  /** The client has cancelled, and the request is still open. */
  readonly isCancelled: boolean;
  /** Calls once, when the client has read enough. */
  onDrain(listener: () => void): void;
  /** The client left, or the answer is complete. */
  onClose(listener: () => void): void;
}

/** The place of an event in its stream, for a client that resumes. */
export interface Place {
  readonly id: string | undefined;
  readonly retry: number | undefined;
}

/** A message may hold a file. */
export const MAX_REQUEST_BYTES = 16 * 1024 * 1024;
export const MAX_ANSWER_BYTES = MAX_REQUEST_BYTES;

/**
 * The server has the request, and no answer came that can be read: mcp_outcome, which says what was wrong. A refusal of
 * the answer as a whole (mcp_upstream) stays.
 */
export function badAnswer(error: unknown): IdentityError {
  if (isRefusal(error, 'mcp_upstream') || isRefusal(error, 'mcp_outcome')) return error;
  return new IdentityError('mcp_outcome', saysOf(error), { cause: error });
}

/** No connection was made, so the server has not seen the request. */
export function unreachable(error: unknown): IdentityError {
  const says = `the MCP server could not be reached: ${reasonOf(error)}`;
  return new IdentityError('mcp_upstream', says, { cause: error });
}

/** For a reader of the error who may call again. */
export const MAY_HAVE_ACTED = 'it may have done what was asked';

function saysOf(error: unknown): string {
  const limit = `${MAX_ANSWER_BYTES / 1024 / 1024} MiB`;
  if (isRefusal(error, 'mcp_size'))
    return `the answer of the MCP server was larger than ${limit}; ${MAY_HAVE_ACTED}`;
  if (isRefusal(error))
    return `the answer of the MCP server could not be read: ${error.message}; ${MAY_HAVE_ACTED}`;
  return `the MCP server was reached but did not answer: ${reasonOf(error)}; ${MAY_HAVE_ACTED}`;
}

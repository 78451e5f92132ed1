/** The seam between the gateway and the MCP server behind it, whatever that is reached by. */
import { IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Message, Response } from '@chancery/shared/mcp/message.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { reasonOf } from '../wire/answer/reason.ts';
import type { Account } from './account.ts';

/** Where the MCP server is. */
export type UpstreamTarget =
  | { readonly kind: 'url'; readonly url: URL }
  | { readonly kind: 'unix'; readonly path: string; readonly endpoint: string }
  | {
      readonly kind: 'command';
      readonly command: readonly [string, ...string[]];
      /** All that the server gets to see; make it with `allowedEnvironment`. */
      readonly env: Readonly<Record<string, string>>;
      /** As whom it runs; by default as the agent. */
      readonly account?: Account | undefined;
    };

export type CommandTarget = Extract<UpstreamTarget, { kind: 'command' }>;

export interface Upstream {
  /** The most sessions it can hold at once. */
  readonly maxSessions: number;
  /** Passes one message on. What comes of it goes to `back`, at once or later. */
  send(outbound: Outbound, back: Back): void;
  /** Opens the stream on which a legacy server speaks unasked; where it has none, the gateway is alone on it. */
  listen(outbound: Outbound, back: Back): void;
  /** Ends a legacy session at its client's wish. */
  end(outbound: Outbound, back: Back): void;
  /** Answers a request of the server's own that no rule lets through. */
  refuse(session: string | undefined, answer: Response): void;
  /** Frees what an evicted session holds. */
  forget(session: string): void;
  /** Calls back with the name of each session that has ended at the server by itself. */
  onSessionEnd(listener: (session: string) => void): void;
  /** Resolves when nothing of it is left running. */
  close(): Promise<void>;
}

export interface Outbound {
  readonly caller: SpiffeId;
  readonly era: 'legacy' | 'modern';
  readonly message: Message | undefined;
  /** As the upstream named it by `Back.session`. */
  readonly session: string | undefined;
  /** Already chosen by allow-list. */
  readonly headers: Readonly<Record<string, string>>;
}

/** The way back to one client's one HTTP request. Exactly one of `answer`, `open`...`end` and `fail` is used. */
export interface Back {
  /** The upstream's name for the session that this `initialize` began; before the answer. */
  session(name: string): void;
  answer(status: number, message: Message | undefined): void;
  open(): void;
  /** False asks for a pause until `onDrain`. */
  event(place: Place, message: Message | undefined): boolean;
  keepAlive(): void;
  end(): void;
  /** The upstream has taken all of the message, or will not: it holds nothing of it in our memory any more. */
  sent(): void;
  /** Before `sent`: what it holds of the message is needed for others, and the client has been refused. */
  onLost(listener: () => void): void;
  /** The answer has gone to the client, so that what the upstream still has to say is for nobody. */
  readonly answered: boolean;
  fail(error: IdentityError): void;
  /** So many bytes of what is not whole are held for this client. */
  holding(bytes: number): void;
  /** The client has cancelled the request, so that no answer comes. */
  cancelled(): void;
  /** It has, and the request is still open. */
  readonly isCancelled: boolean;
  onDrain(listener: () => void): void;
  /** The client left, or the answer is complete. */
  onClose(listener: () => void): void;
}

/** Where an event stands in its stream, for a client that resumes. */
export interface Place {
  readonly id: string | undefined;
  readonly retry: number | undefined;
}

/** A request may hold a file, an answer several. */
export const MAX_REQUEST_BYTES = 16 * 1024 * 1024;
export const MAX_ANSWER_BYTES = MAX_REQUEST_BYTES;

/** Whatever was wrong with an answer is the server's fault, and so a bad gateway's to the client, who is told what. */
export function badAnswer(error: unknown): IdentityError {
  if (isRefusal(error, 'mcp_upstream')) return error;
  return new IdentityError('mcp_upstream', saysOf(error), { cause: error });
}

/** No connection was made: the server has not seen the request. */
export function unreachable(error: unknown): IdentityError {
  const says = `the MCP server could not be reached: ${reasonOf(error)}`;
  return new IdentityError('mcp_upstream', says, { cause: error });
}

/** For whoever reads the error and may call again. */
export const MAY_HAVE_ACTED = 'it may have done what was asked';

function saysOf(error: unknown): string {
  const limit = `${MAX_ANSWER_BYTES / 1024 / 1024} MiB`;
  if (isRefusal(error, 'mcp_size'))
    return `the answer of the MCP server was larger than ${limit}; ${MAY_HAVE_ACTED}`;
  if (isRefusal(error))
    return `the answer of the MCP server could not be read: ${error.message}; ${MAY_HAVE_ACTED}`;
  return `the MCP server was reached but did not answer: ${reasonOf(error)}; ${MAY_HAVE_ACTED}`;
}

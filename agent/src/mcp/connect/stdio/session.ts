/** The legacy session that a stdio client's `initialize` began, with what is needed to begin it again. */
import { randomUUID } from 'node:crypto';
import type { Id, Request, Response } from '@chancery/shared/mcp/message.ts';

/** One legacy session. It has no id until `begun` takes it from the server's answer. */
export class StdioSession {
  /** The client's `initialize`, under an id that no client uses. */
  readonly again: Request;
  readonly initialize: Id;
  /** Undefined before the answer, and for a server without sessions. */
  id: string | undefined;
  version: string | undefined;
  /** Calls that were sent in it: the server may keep state of them. */
  calls = 0;

  constructor(initialize: Request) {
    this.initialize = initialize.id;
    this.again = { ...initialize, id: randomUUID() };
  }

  /** The headers that name the session and its protocol version; none before `initialize` is answered. */
  headers(): Record<string, string> {
    return {
      ...(this.id === undefined ? {} : { 'mcp-session-id': this.id }),
      ...(this.version === undefined ? {} : { 'mcp-protocol-version': this.version }),
    };
  }

  /** Takes the session's id and the server's answer to `initialize`. */
  begun(id: string | undefined, { result }: Response): void {
    this.id = id;
    const version = result?.['protocolVersion'];
    this.version = typeof version === 'string' ? version : undefined;
  }
}

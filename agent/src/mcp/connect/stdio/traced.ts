/** The spans of one stdio client's messages, from when connect read them until it wrote their answers. */

import { claimedVersion } from '@chancery/shared/mcp/era.ts';
import type { Id, Message } from '@chancery/shared/mcp/message.ts';
import { endOf, type OpenSpan, type Spans } from '../../spans.ts';
import { CANCELLED, cancelledId } from '../../upstream/numbering.ts';

/** More than any client has open at once. The oldest ends first. */
const MAX_OPEN = 1_000;

/** Follows what passes, and holds nothing of it but ids. */
export class TracedClient {
  readonly #spans: Spans | undefined;
  readonly #server: string;
  readonly #open = new Map<Id, OpenSpan>();

  constructor(spans: Spans | undefined, server: string) {
    this.#spans = spans;
    this.#server = server;
  }

  /** A message of the client. Returns it as the gateway gets it. */
  asked(message: Message): Message {
    if (this.#spans === undefined || message.kind === 'response') return message;
    const version = claimedVersion(message);
    const span = this.#spans.begin({ server: this.#server, message, version });
    const onward = span.onward(message);
    if (message.kind === 'request') this.#keep(message.id, span);
    else {
      span.end({});
      const cancelled = message.method === CANCELLED ? cancelledId(message) : undefined;
      if (cancelled !== undefined) this.#end(cancelled, ABANDONED);
    }
    return onward;
  }

  /** A message for the client. */
  answered(message: Message): void {
    if (message.kind === 'response' && message.id !== undefined) this.#end(message.id, endOf(message));
  }

  /** The client has left. */
  close(): void {
    for (const id of [...this.#open.keys()]) this.#end(id, ABANDONED);
  }

  #keep(id: Id, span: OpenSpan): void {
    const [oldest] = this.#open.keys();
    if (oldest !== undefined && this.#open.size >= MAX_OPEN) this.#end(oldest, ABANDONED);
    this.#end(id, ABANDONED);
    this.#open.set(id, span);
  }

  #end(id: Id, how: Parameters<OpenSpan['end']>[0]): void {
    this.#open.get(id)?.end(how);
    this.#open.delete(id);
  }
}

const ABANDONED = { error: 'abandoned' } as const;

/** What a server has sent, for clients that resume. */
import type { EventStore } from '@modelcontextprotocol/sdk/server/streamableHttp.js';

type Message = Parameters<EventStore['storeEvent']>[1];

/**
 * Keeps events in the order in which they were sent. The SDK's own example sorts them by ids of milliseconds and
 * chance, and loses an answer that was sent in the millisecond of the event before it.
 */
export class EventsInOrder implements EventStore {
  readonly #events = new Map<string, { readonly stream: string; readonly message: Message }>();

  async storeEvent(stream: string, message: Message): Promise<string> {
    const id = `${stream}_${this.#events.size}`;
    this.#events.set(id, { stream, message });
    return id;
  }

  async replayEventsAfter(
    last: string,
    { send }: { send: (id: string, message: Message) => Promise<void> },
  ): Promise<string> {
    const stream = this.#events.get(last)?.stream;
    if (stream === undefined) return '';
    let after = false;
    for (const [id, event] of this.#events) {
      if (after && event.stream === stream) await send(id, event.message);
      after ||= id === last;
    }
    return stream;
  }
}

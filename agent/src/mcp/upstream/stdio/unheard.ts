/**
 * Keeps what a stdio server sends before its client listens: servers notify and log from their start, and a client
 * opens its stream only after it has begun the session. The oldest message gives way.
 */
import { type Message, writeMessage } from '@chancery/shared/mcp/message.ts';

const MAX_MESSAGES = 100;
const MAX_CHARACTERS = 1024 * 1024;

/** Keeps at most 100 messages, and 1,048,576 characters, of one process. */
export class Unheard {
  #held: { readonly message: Message; readonly size: number }[] = [];
  #size = 0;

  /** Keeps the message; drops the oldest ones above the bounds, and a message that is larger than the bound. */
  hold(message: Message): void {
    const size = writeMessage(message).length;
    if (size > MAX_CHARACTERS) return;
    this.#held.push({ message, size });
    this.#size += size;
    while (this.#held.length > MAX_MESSAGES || this.#size > MAX_CHARACTERS)
      this.#size -= this.#held.shift()?.size ?? 0;
  }

  /** Returns all of them, once. */
  take(): readonly Message[] {
    const held = this.#held.map(({ message }) => message);
    this.#held = [];
    this.#size = 0;
    return held;
  }
}

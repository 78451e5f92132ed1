/** Finds where the messages of one gRPC stream begin and end: a flag, four bytes of length, the message. */
import { ensure } from '../../ground/errors.ts';

const HEAD_BYTES = 5;

export interface MessageBounds {
  readonly maxBytes: number;
  /** What grpc-js takes of any method: it answers a larger message itself, by its head. */
  readonly libraryBytes: number;
}

/** One for each stream. It counts bytes and keeps none. */
export class MessageMeter {
  readonly #bounds: MessageBounds;
  readonly #head = Buffer.alloc(HEAD_BYTES);
  #headBytes = 0;
  /** Bytes of the message that are still to come. */
  #left = 0;
  #seen = 0;

  constructor(bounds: MessageBounds) {
    this.#bounds = bounds;
  }

  /**
   * Takes received bytes. `unfinished` is the bytes of an incomplete message so far; `begun`: a message was completed
   * in this chunk. Throws message_size.
   */
  take(chunk: Uint8Array): { readonly begun: boolean; readonly unfinished: number } {
    let at = 0;
    let begun = false;
    while (at < chunk.length) {
      if (this.#headBytes < HEAD_BYTES) {
        this.#head[this.#headBytes] = chunk[at] ?? 0;
        this.#headBytes += 1;
        at += 1;
        if (this.#headBytes === HEAD_BYTES) this.#begin();
      } else {
        const part = Math.min(this.#left, chunk.length - at);
        at += part;
        this.#left -= part;
        this.#seen += part;
      }
      if (this.#headBytes === HEAD_BYTES && this.#left === 0) {
        this.#headBytes = 0;
        this.#seen = 0;
        begun = true;
      }
    }
    return { begun, unfinished: this.#headBytes + this.#seen };
  }

  #begin(): void {
    this.#left = this.#head.readUInt32BE(1);
    const { maxBytes, libraryBytes } = this.#bounds;
    if (this.#left > libraryBytes) return;
    ensure(
      this.#left <= maxBytes,
      'message_size',
      `a message of ${this.#left} bytes; ${maxBytes} are allowed`,
    );
  }
}

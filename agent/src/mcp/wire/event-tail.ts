/**
 * Follows an event stream that is passed on unread: which event was last, and whether it was the answer. Our gateway
 * writes the stream, so an event ends with an empty line of LF, its id comes first, and a message has its id before its
 * result.
 */
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import type { Id } from '@chancery/shared/mcp/message.ts';
import { answeredIn, outlinesOf } from '@chancery/shared/mcp/outline.ts';

const LF = 0x0a;
const END = '\n\n';
/** Enough for the id of an event and the beginning of a message, up to its result. */
const MAX_HEAD = 8 * 1024;

/** Finds the last event of one stream as it passes by. Keeps at most 8 KiB of an event. */
export class EventTail {
  /** The beginning of the incomplete event. */
  #head = Buffer.alloc(0);
  #size = 0;
  #afterLf = false;
  /** The beginning of the last complete event with a message. */
  #last = '';
  #place: string | undefined;

  /** The next bytes of the stream, in pieces of any size. */
  push(bytes: Uint8Array): void {
    const chunk = asBuffer(bytes);
    let start = 0;
    if (this.#afterLf && chunk[0] === LF) {
      this.#finish();
      start = 1;
    }
    for (let end = chunk.indexOf(END, start); end !== -1; end = chunk.indexOf(END, start)) {
      this.#keep(chunk.subarray(start, end));
      this.#finish();
      start = end + END.length;
    }
    this.#keep(chunk.subarray(start));
    this.#afterLf = start < chunk.length && chunk.at(-1) === LF;
  }

  /** The id of the last complete event that has one; undefined if there is none to resume from. */
  get place(): string | undefined {
    return this.#place === '' ? undefined : this.#place;
  }

  /** True if the last message is the answer to this request: no message follows it. */
  answers(id: Id): boolean {
    const data = lineOf(this.#last, 'data: ');
    return data !== undefined && answeredIn(outlinesOf(Buffer.from(data))).includes(id);
  }

  /**
   * Gives up the incomplete event. Returns text that makes the client ignore it: an event of another type is not a
   * message (WHATWG HTML section 9.2.6: the last type counts).
   */
  giveUpEvent(): string {
    const end = this.#size === 0 ? '' : `${this.#afterLf ? '' : '\n'}event: cut\n\n`;
    this.#forget();
    return end;
  }

  #keep(bytes: Buffer): void {
    this.#size += bytes.length;
    const room = MAX_HEAD - this.#head.length;
    if (room > 0) this.#head = Buffer.concat([this.#head, bytes.subarray(0, room)]);
  }

  #finish(): void {
    const head = this.#head.toString('utf8');
    this.#place = lineOf(head, 'id: ') ?? this.#place;
    if (lineOf(head, 'data: ') !== undefined) this.#last = head;
    this.#forget();
  }

  #forget(): void {
    this.#head = Buffer.alloc(0);
    this.#size = 0;
    this.#afterLf = false;
  }
}

function lineOf(head: string, field: string): string | undefined {
  const line = head.split('\n').find((each) => each.startsWith(field));
  return line?.slice(field.length);
}

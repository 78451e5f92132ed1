/** Cuts a byte stream into lines of bounded length: the framing of MCP over stdio. */
import { type Outline, OutlineReader } from '@chancery/shared/mcp/outline.ts';

const LF = 0x0a;

/** Cuts bytes into lines. Calls back synchronously from `push`; an incomplete line waits for the next `push`. */
export class LineReader {
  readonly #onLine: (line: Uint8Array) => void;
  readonly #onTooLong: (outlines: readonly Outline[]) => void;
  readonly #maxBytes: number;
  #held: Uint8Array[] = [];
  #size = 0;
  /** The outline of a line that is too long: nothing else of it is kept. */
  #outline: OutlineReader | undefined;

  /** Blank lines are skipped. A line of more than `maxBytes` is skipped, and reported at its end. */
  constructor(
    onLine: (line: Uint8Array) => void,
    maxBytes: number,
    onTooLong: (outlines: readonly Outline[]) => void,
  ) {
    this.#onLine = onLine;
    this.#maxBytes = maxBytes;
    this.#onTooLong = onTooLong;
  }

  /** The next bytes. Calls back for each line that they complete. */
  push(chunk: Uint8Array): void {
    let start = 0;
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      this.#hold(chunk.subarray(start, end));
      start = end + 1;
      this.#endLine();
    }
    this.#hold(chunk.subarray(start));
  }

  #endLine(): void {
    const [held, outline] = [this.#held, this.#outline];
    this.#held = [];
    this.#size = 0;
    this.#outline = undefined;
    if (outline !== undefined) {
      this.#onTooLong(outline.finish());
      return;
    }
    const [only, more] = held;
    const line = only !== undefined && more === undefined ? only : Buffer.concat(held);
    if (line.some((byte) => !BLANKS.has(byte))) this.#onLine(line);
  }

  #hold(bytes: Uint8Array): void {
    this.#size += bytes.length;
    if (bytes.length > 0) this.#held.push(bytes);
    if (this.#size <= this.#maxBytes) return;
    this.#outline ??= new OutlineReader();
    for (const each of this.#held) this.#outline.push(each);
    this.#held = [];
  }
}

const [BRACE, BRACKET] = [0x7b, 0x5b];
const BLANKS = new Set([0x20, 0x09, 0x0d]);

/** True if a line begins like an object or a list, and so may be a message. */
export function beginsAsJson(line: Uint8Array): boolean {
  const first = line.find((byte) => !BLANKS.has(byte));
  return first === BRACE || first === BRACKET;
}

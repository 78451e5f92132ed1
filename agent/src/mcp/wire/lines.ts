/** Lines out of a byte stream, each bounded; the framing of MCP over stdio. */
import { ensure } from '@chancery/shared/errors.ts';

const LF = 0x0a;

export class LineReader {
  readonly #onLine: (line: Uint8Array) => void;
  readonly #maxBytes: number;
  #held: Uint8Array[] = [];
  #size = 0;

  /** Empty lines are left out. More than `maxBytes` without an end throws mcp_size. */
  constructor(onLine: (line: Uint8Array) => void, maxBytes: number) {
    this.#onLine = onLine;
    this.#maxBytes = maxBytes;
  }

  push(chunk: Uint8Array): void {
    let start = 0;
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      this.#hold(chunk.subarray(start, end));
      const [only, more] = this.#held;
      const line = only !== undefined && more === undefined ? only : Buffer.concat(this.#held);
      this.#held = [];
      this.#size = 0;
      start = end + 1;
      if (line.length > 0) this.#onLine(line);
    }
    this.#hold(chunk.subarray(start));
  }

  #hold(bytes: Uint8Array): void {
    this.#size += bytes.length;
    ensure(this.#size <= this.#maxBytes, 'mcp_size', `a line of more than ${this.#maxBytes} bytes`);
    if (bytes.length > 0) this.#held.push(bytes);
  }
}

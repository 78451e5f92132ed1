/** A stream's bytes as one, with a bound. */

/** To its end. Throws `tooLong()` once there are more bytes than `maxBytes`, and then reads no further. */
export async function readWhole(
  stream: AsyncIterable<Uint8Array>,
  maxBytes: number,
  tooLong: () => Error,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    // The loop destroys a stream that it leaves.
    if (size > maxBytes) throw tooLong();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Of a service that was asked. */
export const readAnswer = (stream: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer> =>
  readWhole(stream, maxBytes, () => new Error(`the answer is longer than ${maxBytes} bytes`));

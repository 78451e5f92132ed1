/**
 * The memory that request headers take. HPACK sends a repeated field as one byte (RFC 7541 section 6.1), so the
 * received bytes do not show it; and the limits of HTTP/2 hold only for peers that acknowledge them.
 */
import { ensure } from '../../ground/errors.ts';

/** gRPC clients send some hundred bytes. */
export const MAX_HEADER_BYTES = 8 * 1024;
const FIELD_BYTES = 32;

/**
 * The size of a header list as RFC 9113 section 6.5.2 counts it: names, values, and 32 bytes for each field. `raw` has
 * names and values in turn. Throws message_size.
 */
export function headerBytes(raw: readonly string[]): number {
  const bytes = raw.reduce((sum, each) => sum + each.length, (raw.length / 2) * FIELD_BYTES);
  ensure(
    bytes <= MAX_HEADER_BYTES,
    'message_size',
    `request headers of ${bytes} bytes; ${MAX_HEADER_BYTES} are allowed`,
  );
  return bytes;
}

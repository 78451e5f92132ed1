/** OBJECT IDENTIFIER contents (X.690 §8.19), as dotted text. */
import { ensure, IdentityError, type Refusal } from '../ground/errors.ts';

/** Above this a JavaScript number loses digits, so two OIDs could look alike. No arc in use is near it. */
const MAX_ARC = Number.MAX_SAFE_INTEGER;

/**
 * The dotted text of an OID's content octets. Throws `code`, naming `what`, if they are not minimal, end early or have
 * a number above 2^53.
 */
export function readOid(content: Uint8Array, code: Refusal, what: string): string {
  let text = '';
  let arc = 0;
  let inside = false;
  for (const byte of content) {
    // No sentence is made for a byte that is as it should be.
    if (!inside && byte === 0x80) throw new IdentityError(code, `${what} is an OID with padding`);
    arc = arc * 128 + (byte & 0x7f);
    if (arc > MAX_ARC) throw new IdentityError(code, `${what} is an OID with a number too large`);
    inside = byte >= 0x80;
    if (inside) continue;
    text = text === '' ? firstTwo(arc) : `${text}.${arc}`;
    arc = 0;
  }
  ensure(!inside && text !== '', code, `${what} is an OID that ends early`);
  return text;
}

/** §8.19.4: the first number encodes the first two arcs. */
function firstTwo(arc: number): string {
  const root = Math.min(Math.floor(arc / 40), 2);
  return `${root}.${arc - root * 40}`;
}

/** The content octets, without tag and length. The text is not checked. */
export function oidContent(text: string): Uint8Array {
  const [root = 0, second = 0, ...rest] = text.split('.').map(Number);
  return Uint8Array.from([root * 40 + second, ...rest].flatMap(base128));
}

function base128(arc: number): number[] {
  const digits = [arc % 128];
  for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
    digits.unshift((left % 128) | 0x80);
  return digits;
}

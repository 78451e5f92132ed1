/** OBJECT IDENTIFIER contents (X.690 §8.19), as dotted text. */
import { ensure, type Refusal } from '../errors.ts';

/** No arc in use is near this; beyond it a number would lose digits and two OIDs would look alike. */
const MAX_ARC = Number.MAX_SAFE_INTEGER;

export function readOid(content: Uint8Array, code: Refusal, what: string): string {
  const arcs: number[] = [];
  let arc = 0;
  let inside = false;
  for (const byte of content) {
    ensure(inside || byte !== 0x80, code, `${what} is an OID with padding`);
    arc = arc * 128 + (byte & 0x7f);
    ensure(arc <= MAX_ARC, code, `${what} is an OID with a number too large`);
    inside = byte >= 0x80;
    if (inside) continue;
    arcs.push(arc);
    arc = 0;
  }
  ensure(!inside && arcs.length > 0, code, `${what} is an OID that ends early`);
  const [first = 0, ...rest] = arcs;
  const root = Math.min(Math.floor(first / 40), 2);
  return [root, first - root * 40, ...rest].join('.');
}

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

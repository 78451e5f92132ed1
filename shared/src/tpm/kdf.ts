/** The two key derivations of TPM 2.0, Part 1, section 11.4.10. A label ends with exactly one NUL byte. */
import { createHmac, hash } from 'node:crypto';
import { concat, u32, utf8 } from '../ground/bytes.ts';
import type { HashName } from './algorithms.ts';

export interface Derivation {
  readonly hash: HashName;
  /** Without its NUL. */
  readonly label: string;
  readonly u: Uint8Array;
  readonly v: Uint8Array;
  readonly bits: number;
}

/** KDFa: SP 800-108 in counter mode over HMAC. */
export function kdfA(key: Uint8Array, { hash: name, label, u, v, bits }: Derivation): Uint8Array {
  return blocks(bits, (i) =>
    createHmac(name, key)
      .update(concat(u32(i), utf8(`${label}\0`), u, v, u32(bits)))
      .digest(),
  );
}

/** KDFe: SP 800-56A's one-step derivation. `z`, `u` and `v` are x coordinates, padded to the size of the field. */
export function kdfE(z: Uint8Array, { hash: name, label, u, v, bits }: Derivation): Uint8Array {
  return blocks(bits, (i) => hash(name, concat(u32(i), z, utf8(`${label}\0`), u, v), 'buffer'));
}

function blocks(bits: number, block: (counter: number) => Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let length = 0; length < bits / 8; length += parts.at(-1)?.length ?? 0)
    parts.push(block(parts.length + 1));
  return concat(...parts).subarray(0, bits / 8);
}

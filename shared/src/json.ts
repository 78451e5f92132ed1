/**
 * A strict JSON reader for what peers send: duplicate keys, lone surrogates, NULs, a BOM, bad UTF-8 and deep nesting
 * refuse. JSON.parse keeps the last of two equal keys, and two readers that differ on that are a way past a policy.
 */
import { IdentityError, type Refusal } from './errors.ts';

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

export interface JsonLimits {
  readonly code: Refusal;
  readonly maxBytes: number;
  readonly maxDepth: number;
}

export function parseJson(bytes: Uint8Array, limits: JsonLimits): Json {
  throw new IdentityError(limits.code, `not written yet for ${bytes.length} bytes`);
}

/** The arguments of a call that its record has in clear: those that the McpServer names, without secrets, bounded. */
import { masked } from '@chancery/shared/audit/masked.ts';
import type { Policy } from '@chancery/shared/policy/policy.ts';
import { argumentAt } from '@chancery/shared/policy/resources/clear.ts';
import { cut } from '../../call-event.ts';
import type { Use } from '../judge/reader.ts';

/** UTF-16 units of one value; a longer one is cut to this. */
const MAX_VALUE = 256;
/** UTF-8 of all values of a record as JSON: a record is 32 KiB at most, with all that it says besides. */
const MAX_BYTES = 8 * 1024;

/** By JSON Pointer. Undefined if there are none. */
export function argumentsInClear(
  policy: Policy,
  server: string,
  { name, arguments: given }: Use,
): Readonly<Record<string, string>> | undefined {
  let left = MAX_BYTES;
  const kept = policy.clearFor(server, name).flatMap((pointer): [string, string][] => {
    const found = argumentAt(given, pointer);
    if (found === undefined) return [];
    const text = bounded(found, left);
    left -= Buffer.byteLength(JSON.stringify(text));
    return [[pointer, text]];
  });
  return kept.length === 0 ? undefined : Object.fromEntries(kept);
}

/** Masked before it is cut: the beginning of a secret may have another shape. */
function bounded(found: string, left: number): string {
  const safe = masked(found);
  const short = safe.length > MAX_VALUE ? cut(safe, MAX_VALUE) : safe;
  return Buffer.byteLength(JSON.stringify(short)) <= left ? short : cut(safe, 0);
}

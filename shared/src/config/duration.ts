/** Lengths of time as operators write them: `20s`, `15m`, `1h`, `7d`. */
import { ensure } from '../ground/errors.ts';

const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/** Seconds, a positive whole number. Throws config. */
export function parseDuration(text: string): number {
  const [, count = '', unit = ''] = /^([1-9][0-9]{0,5})([smhd])$/.exec(text) ?? [];
  ensure(
    Object.hasOwn(SECONDS, unit),
    'config',
    `"${text}" is not a length of time such as 20s, 15m, 1h or 7d`,
  );
  return Number(count) * SECONDS[unit as keyof typeof SECONDS];
}

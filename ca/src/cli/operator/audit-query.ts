/** What `audit query` asks for, from its flags. */
import type { QueryAuditRequest } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { DECISIONS } from '@chancery/shared/audit/leaves.ts';
import { type Invocation, MisuseError, meant } from '@chancery/shared/cli/program.ts';
import { parseDuration } from '@chancery/shared/config/duration.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';

/** `now` is what "15m ago" counts from. Throws MisuseError. */
export function queryOf(invocation: Invocation, now: Date): QueryAuditRequest {
  const decision = invocation.text('decision') ?? '';
  if (decision !== '' && !DECISIONS.some((each) => each === decision))
    throw new MisuseError(`--decision is one of ${DECISIONS.join(', ')}${meant(decision, DECISIONS)}`);
  const given = ['identity', 'serial', 'code'].map((flag) => invocation.text(flag));
  const words = given.filter((word) => word !== undefined);
  if (words.includes('')) throw new MisuseError('--identity, --serial and --code are not empty');
  return {
    words,
    decision,
    text: invocation.text('text') ?? '',
    since: timeOf(invocation.text('since'), now),
    until: timeOf(invocation.text('until'), now),
    backwards: false,
    limit: 0,
  };
}

/** Milliseconds since 1970; 0 for none. */
function timeOf(text: string | undefined, now: Date): bigint {
  if (text === undefined) return 0n;
  const instant = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d))?$/.test(text)
    ? Date.parse(text)
    : Number.NaN;
  const ms = Number.isNaN(instant) ? now.getTime() - agoOf(text) * 1000 : instant;
  return BigInt(Math.max(Math.floor(ms), 1));
}

function agoOf(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new MisuseError(
      `"${text}" is neither a time such as 2026-11-30T02:00:00Z or 2026-11-30 nor a length such as 15m or 7d`,
    );
  }
}

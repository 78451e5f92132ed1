/** What `audit query` and `audit export` ask for, from their flags, and the rows of the table. */
import type { AuditEntry, QueryAuditRequest } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { DECISIONS } from '@chancery/shared/audit/leaves.ts';
import { type Invocation, MisuseError, meant } from '@chancery/shared/cli/program.ts';
import { parseDuration } from '@chancery/shared/config/duration.ts';
import { isRefusal, REFUSALS } from '@chancery/shared/ground/errors.ts';
import { callOperator } from '../operator/admin.ts';

/** Entries that are asked for at once. */
export const PAGE = 1_000;

/** A page of entries. Throws what the call throws. */
export const askAudit = (invocation: Invocation, request: QueryAuditRequest) =>
  callOperator(invocation, (client) => client.queryAudit, request);

/** `now` is what "15m ago" counts from. Throws MisuseError. */
export function queryOf(invocation: Invocation, now: Date): QueryAuditRequest {
  const decision = invocation.text('decision') ?? '';
  if (decision !== '' && !DECISIONS.some((each) => each === decision))
    throw new MisuseError(`--decision is one of ${DECISIONS.join(', ')}${meant(decision, DECISIONS)}`);
  const [since, until] = [timeOf(invocation.text('since'), now), timeOf(invocation.text('until'), now)];
  if (until !== 0n && until <= since)
    throw new MisuseError('--until is not after --since: no time is between them');
  const text = invocation.text('text') ?? '';
  const words = wordsOf(invocation);
  // A liar could fill any of these; without a filter, nothing of the log is left out.
  const isFiltered = words.length > 0 || decision !== '' || text !== '';
  const withoutForeign = isFiltered && !invocation.has('foreign');
  return { words, decision, text, since, until, withoutForeign, backwards: false, limit: 0 };
}

/** As the log spells them: what matches nothing because it is misspelt must not look like "it did nothing". */
function wordsOf(invocation: Invocation): string[] {
  const [identity, code] = [invocation.text('identity'), invocation.text('code')];
  if (identity !== undefined && !/^spiffe:\/\/[^*]+$/.test(identity))
    throw new MisuseError(`--identity is one whole SPIFFE ID, found "${identity}"`);
  if (code !== undefined && !Object.hasOwn(REFUSALS, code))
    throw new MisuseError(
      `"${code}" is no code${meant(code, Object.keys(REFUSALS))}; docs/errors.md has them`,
    );
  const typed = invocation.text('serial');
  // OpenSSL prints upper case, browsers colons.
  const serial = typed?.replaceAll(':', '').toLowerCase();
  if (serial !== undefined && !/^[0-9a-f]{16,40}$/.test(serial))
    throw new MisuseError(`--serial is a whole serial number, in hexadecimal, found "${typed}"`);
  const outcome = invocation.text('outcome');
  if (outcome !== undefined && !OUTCOMES.some((each) => each === outcome))
    throw new MisuseError(`--outcome is one of ${OUTCOMES.join(', ')}${meant(outcome, OUTCOMES)}`);
  const ofCalls = ['server', 'tool', 'outcome'].map((field) => fieldOf(field, invocation.text(field)));
  return [identity, serial, code, ...ofCalls].filter((word) => word !== undefined);
}

/** How a call ended (docs/mcp.md, "Records"). */
const OUTCOMES = ['result', 'error', 'abandoned', 'unknown'] as const;

/** The field as it stands in an entry: in a text that a peer chose, its quotes would be escaped. */
const fieldOf = (field: string, value: string | undefined): string | undefined =>
  value === undefined ? undefined : `${JSON.stringify(field)}:${JSON.stringify(value)}`;

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

/** One line for a person; `--json` has all of the entry. */
export function rowOf({ index, text }: AuditEntry): readonly string[] {
  const { at, type, ...about } = JSON.parse(text) as Fields;
  const says = isCall(about) ? aboutCall(about) : Object.entries(about).map(field);
  return [index === undefined ? '-' : `${index}`, String(at), String(type), says.join(' ')];
}

type Fields = Readonly<Record<string, unknown>>;
/** Of a `call.recorded` whose record was not too long for an entry. */
type Call = Fields & { readonly record: Fields };

const isCall = (about: Fields): about is Call =>
  typeof about['record'] === 'object' && about['record'] !== null;

/** What was called and what became of it comes first. Words of the gateway that could look like two have quotes. */
function aboutCall({ record, reporter, foreign }: Call): readonly string[] {
  const { allow, tool, resource, prompt, method } = record;
  const isNamed = [tool, resource, prompt].some((each) => each !== undefined);
  const said = {
    time: record['time'],
    server: record['server'],
    ...(isNamed ? { tool, resource, prompt } : { method }),
    stage: record['stage'],
    decision: allow === undefined ? undefined : allow === true ? 'allowed' : 'denied',
    ...Object.fromEntries(['rule', 'outcome', 'code', 'count', 'caller'].map((name) => [name, record[name]])),
    ...{ reporter, foreign },
  };
  const inClear = Object.entries((record['arguments'] ?? {}) as Fields);
  return [...Object.entries(said), ...inClear]
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => field([quoted(name), quoted(value)] as [string, unknown]));
}

const quoted = (value: unknown): unknown => (isOneWord(value) ? value : JSON.stringify(value));

const isOneWord = (value: unknown): boolean => typeof value !== 'string' || /^[^\s"=]+$/.test(value);

const field = ([name, value]: readonly [string, unknown]): string =>
  `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`;

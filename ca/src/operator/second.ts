/** Two people for one use of a verb: the one who asks, and another who countersigns exactly that. */
import { hash } from 'node:crypto';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import type { Revocations } from '../revocation/revocations.ts';
import type { OperatorStore, StoredRequest } from '../store/operator-store.ts';
import { commandOf, type Person, type VerbName } from './roles.ts';

/** One use of a verb. */
export interface Use {
  /** All that the verb is given, and what else decides its effect: plain values and bigints. */
  readonly exact: unknown;
  /** For the second person, part by part: what is first is there, also of a use with many parts. */
  readonly about: readonly string[];
}

export interface SecondDeps {
  readonly store: Pick<OperatorStore, 'useRequest' | 'request' | 'requests'>;
  readonly revocations: Pick<Revocations, 'ensureGood'>;
  readonly clock: Clock;
}

/** From the request to the use: a countersignature that nobody needed any more must not lie about. */
const REQUEST_SECONDS = 3600;
const MAX_OPEN = { all: 100, each: 10 };
const MAX_ABOUT = 4000;

/**
 * Takes the countersignature of this use, which is then gone. Where there is none it stores a request, and throws
 * operator_second, which names it. Throws countersign if too many wait, or if who countersigned it was revoked since.
 */
export async function takeSecond(
  verb: VerbName,
  { by, id }: Person,
  { exact, about }: Use,
  { store, clock, revocations }: SecondDeps,
): Promise<void> {
  const digest = digestOf(verb, exact);
  const asked = (await store.requests()).find((each) => each.digest === digest && each.person === id);
  if (asked !== undefined) ensureGood(asked, revocations);
  if ((await store.useRequest(digest, id)) !== undefined) return;
  const until = addSeconds(clock.now(), REQUEST_SECONDS);
  const draft = { verb, digest, about: bounded(about), person: id, by, until };
  const request = await store.request(draft, MAX_OPEN);
  const waits = `request ${request.number} waits for another operator until ${request.until.toISOString()}`;
  const next = `after \`chancery-ca countersign ${request.number}\` by that one, run this command again`;
  throw new IdentityError('operator_second', `${commandOf(verb)} needs two people: ${waits}; ${next}`);
}

/** Throws countersign. */
function ensureGood(
  { number, countersignedBy, countersigner }: StoredRequest,
  revocations: SecondDeps['revocations'],
): void {
  if (countersigner === undefined) return;
  try {
    revocations.ensureGood(countersigner, 'revoked_peer');
  } catch (cause) {
    if (!isRefusal(cause, 'revoked_peer')) throw cause;
    const says = `${countersignedBy}, who countersigned request ${number}, was revoked since`;
    const next = `withdraw it (chancery-ca countersign ${number} --withdraw) and ask again`;
    throw new IdentityError('countersign', `${says}: ${next}`, { cause });
  }
}

/** On one line. Says what it leaves out: nobody may agree to what they cannot see, and take it for all. */
function bounded(parts: readonly string[]): string {
  let text = '';
  for (const [index, part] of parts.map(printable).entries()) {
    const next = index === 0 ? part : `, ${part}`;
    const left = text.length + next.length - MAX_ABOUT;
    const more = parts.length - index;
    if (left > 0 && index > 0) return `${text}, ... and ${more} more`;
    if (left > 0) text = `${next.slice(0, MAX_ABOUT)}... and ${left} more characters`;
    else text += next;
  }
  return text;
}

/** What a request has. Of equal values the same, whatever the order of their keys. */
export const digestOf = (verb: VerbName, exact: unknown): string =>
  hash('sha256', JSON.stringify([verb, exact], sorted), 'hex');

function sorted(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** The forms of revocations in an agent: from the CA, on disk, and for programs beside it. */
import type { Revocations as RevocationsMessage, Revoked } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import {
  isTargetKind,
  parseReason,
  parseTarget,
  type Revocation,
} from '@chancery/shared/revocation/revocation.ts';
import { type RevocationSet, revocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import { z } from 'zod';

/** The set before the CA has sent any. */
export const NO_REVOCATIONS = revocationSet<Revocation>([], 0n);

/** Not a change of others. */
type Whole = Pick<RevocationsMessage, 'sequence' | 'list'>;

export interface ReadRevocations {
  /** Every revocation that could be read: an unreadable one must not disable the others. */
  readonly set: RevocationSet;
  readonly unreadable: IdentityError | undefined;
}

/** Beyond these, what is stored could not be read again. */
const MAX_NUMBER = BigInt(Number.MAX_SAFE_INTEGER);
const LAST_SECOND = BigInt(Date.parse('9999-12-31T23:59:59Z') / 1000);

/** A time that is not a valid Date counts as no end: it must not lift a revocation. */
const endOf = (until: bigint): Date | undefined =>
  until > 0n && until <= LAST_SECOND ? new Date(Number(until) * 1000) : undefined;

/** Reads what the CA sent. Never throws: the first revocation that cannot be read is returned beside the others. */
export function readRevocations({ sequence, list }: Whole): ReadRevocations {
  const problems: IdentityError[] = [];
  const read = list.flatMap(({ number, kind, value, serials, reason, until }) => {
    try {
      const counted = number <= MAX_NUMBER;
      ensure(counted, 'revocation', 'its number is too large');
      return [revocationOf({ number: Number(number), kind, value, serials, reason, until: endOf(until) })];
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const says = `revocation ${number} cannot be read by this version: ${why}`;
      problems.push(new IdentityError('revocation', says, { cause: error }));
      return [];
    }
  });
  return { set: revocationSet(read, sequence), unreadable: problems[0] };
}

const sequence = z.string().regex(/^\d{1,20}$/);

/** The form in the state file and on the agent's socket. */
export const StoredRevocations = z.strictObject({
  sequence,
  list: z.array(
    z.strictObject({
      number: z.int(),
      kind: z.string(),
      value: z.string(),
      serials: z.array(z.string()),
      reason: z.string(),
      until: z.iso.datetime().nullable(),
    }),
  ),
});
export type StoredRevocations = z.infer<typeof StoredRevocations>;

/** As the CA sent them. */
export const revokedMessages = ({ list }: RevocationSet): readonly Revoked[] =>
  list.map(({ number, target, serials, reason, until }) => ({
    number: BigInt(number),
    ...target,
    serials: [...serials],
    reason,
    until: until === undefined ? 0n : BigInt(until.getTime() / 1000),
  }));

/** The form for JSON that `loadRevocations` reads. */
export function storeRevocations({ sequence: last, list }: RevocationSet): StoredRevocations {
  return {
    sequence: String(last),
    list: list.map(({ number, target, serials, reason, until }) => ({
      number,
      ...target,
      serials: [...serials],
      reason,
      until: until?.toISOString() ?? null,
    })),
  };
}

/**
 * Leaves out kinds that it does not know, which an agent of a later release wrote: the CA says again what is in force.
 * Throws revocation.
 */
export function loadRevocations({ sequence: last, list }: StoredRevocations): RevocationSet {
  const read = list
    .filter(({ kind }) => isTargetKind(kind))
    .map(({ until, ...each }) =>
      revocationOf({ ...each, until: until === null ? undefined : new Date(until) }),
    );
  return revocationSet(read, BigInt(last));
}

interface Fields {
  readonly number: number;
  readonly kind: string;
  readonly value: string;
  readonly serials: readonly string[];
  readonly reason: string;
  readonly until: Date | undefined;
}

function revocationOf({ number, kind, value, serials, reason, until }: Fields): Revocation {
  const named = serials.map((serial) => parseTarget('serial', serial).value);
  return { number, target: parseTarget(kind, value), serials: named, reason: parseReason(reason), until };
}

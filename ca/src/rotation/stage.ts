/**
 * Where a rotation of the root stands, and the moves of each of its steps: pure, from the records (architecture.md
 * section 7). There is no other state: a process that begins anew finds the rotation where it was.
 *
 *   idle       one root, which is active
 *   prepared   a new root has a key and a certificate, and nobody has heard of it
 *   published  the new root is in the bundle, and nothing signs with it
 *   retiring   the new root signs; the other one is in the bundle until nothing unexpired chains to it
 *
 * A standby root is in the bundle beside all that, and no step of a rotation moves it.
 */
import { isUnder, rootOf } from '../authority/records.ts';
import { isStandby, keepsKey, maySign } from '../store/authority-states.ts';
import type { AuthorityMove, AuthorityRecord, StoredAuthority } from '../store/store.ts';

export type Stage = 'idle' | 'prepared' | 'published' | 'retiring';

export interface Standing {
  readonly stage: Stage;
  /** The root that signs. */
  readonly active: StoredAuthority;
  /** The root that the next step moves; undefined if no rotation is under way. */
  readonly other: StoredAuthority | undefined;
  /** The root that signs once the active one is tainted; undefined if none is in the bundle. */
  readonly standby: StoredAuthority | undefined;
  /** When a root was removed last, which ends a rotation; undefined before the first. */
  readonly endedAt: Date | undefined;
}

/** The last that was begun comes first: what retires is ended before anything new. */
const IN_ORDER = ['retiring', 'published', 'prepared'] as const;

/** Throws store if there is no root. */
export function standingOf(records: readonly StoredAuthority[]): Standing {
  const active = rootOf(records);
  const standby = records.find((each) => isStandby(each) && each.state === 'published');
  const endedAt = lastRemoved(records.filter(({ kind }) => kind === 'root'));
  for (const stage of IN_ORDER) {
    const other = records.find((each) => each.kind === 'root' && each.state === stage && !isStandby(each));
    if (other !== undefined) return { stage, active, other, standby, endedAt };
  }
  return { stage: 'idle', active, other: undefined, standby, endedAt };
}

/** When one of them was removed last; undefined if all are there. A taint ends no rotation. */
export function lastRemoved(
  records: readonly Pick<StoredAuthority, 'state' | 'movedAt' | 'taintedAt'>[],
): Date | undefined {
  const gone = records.filter((each) => !keepsKey(each) && each.taintedAt === undefined);
  const times = gone.map(({ movedAt }) => movedAt.getTime());
  return times.length === 0 ? undefined : new Date(Math.max(...times));
}

/** Puts the root into the bundle, and drops others that two commands at once have prepared. */
export const publishMoves = (
  records: readonly AuthorityRecord[],
  root: AuthorityRecord,
): readonly AuthorityMove[] => [
  { serial: root.serial, from: 'prepared', to: 'published' },
  ...records
    .filter((each) => each.kind === 'root' && each.state === 'prepared' && each.serial !== root.serial)
    .filter((each) => isStandby(each) === isStandby(root))
    .map(({ serial }) => ({ serial, from: 'prepared', to: 'removed' }) as const),
];

/** The root and its intermediate sign from now on, and those before them no longer: at one moment. */
export const activeMoves = (
  records: readonly AuthorityRecord[],
  root: AuthorityRecord,
  intermediate: AuthorityRecord,
): readonly AuthorityMove[] => [
  ...records.filter(maySign).map(({ serial }) => ({ serial, from: 'active', to: 'retiring' }) as const),
  { serial: root.serial, from: root.state, to: 'active' },
  { serial: intermediate.serial, from: intermediate.state, to: 'active' },
];

/** Another intermediate of the same root signs from now on. */
export const intermediateMoves = (
  records: readonly AuthorityRecord[],
  intermediate: AuthorityRecord,
): readonly AuthorityMove[] => [
  ...records
    .filter((each) => each.kind === 'intermediate' && maySign(each))
    .map(({ serial }) => ({ serial, from: 'active', to: 'retiring' }) as const),
  { serial: intermediate.serial, from: intermediate.state, to: 'active' },
];

/** The root and all under it are trusted no longer, and their keys go. */
export const removeMoves = (
  records: readonly AuthorityRecord[],
  root: AuthorityRecord,
): readonly AuthorityMove[] =>
  [root, ...intermediatesOf(records, root)].map(({ serial, state }) => ({
    serial,
    from: state,
    to: 'removed',
  }));

/**
 * Those under this root whose certificates may be unexpired, in whatever state: a clock that was ahead has removed some
 * as ended.
 */
export const issuersUnder = <T extends AuthorityRecord>(
  records: readonly T[],
  root: AuthorityRecord,
  now: Date,
): readonly T[] => records.filter((each) => isUnder(each, root) && (keepsKey(each) || now < each.notAfter));

/** Those under this root that were not removed. */
const intermediatesOf = <T extends AuthorityRecord>(
  records: readonly T[],
  root: AuthorityRecord,
): readonly T[] => records.filter((each) => keepsKey(each) && isUnder(each, root));

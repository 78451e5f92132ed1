/**
 * Where a rotation of the JWT signing key stands, what it waits for, and the moves of its steps: pure, from the
 * records. The stages are those of a root. No certificate is under a key, so time stands for it: that of caches with
 * the key set, and of the tokens that it may have signed.
 */
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { REFRESH_HINT_SECONDS } from '@chancery/shared/spiffe/bundle.ts';
import { lastRemoved, type Stage } from '../rotation/stage.ts';
import { type Found, NEXT, type NextStep, type Waiver } from '../rotation/status.ts';
import { maySign } from '../store/authority-states.ts';
import type { AuthorityMove, StoredJwtKey } from '../store/store.ts';
import { MAX_TOKEN_SECONDS } from './keys.ts';

export interface JwtStanding {
  readonly stage: Stage;
  /** The key that signs. */
  readonly active: StoredJwtKey;
  /** The key that the next step moves; undefined if no rotation is under way. */
  readonly other: StoredJwtKey | undefined;
  /** When the last rotation ended; undefined before the first. */
  readonly endedAt: Date | undefined;
}

export interface JwtStatus extends JwtStanding, Pick<Found, 'agents' | 'stragglers'> {
  readonly next: NextStep;
  /** As of `RotationStatus`. */
  readonly waits: readonly string[];
  readonly made?: NextStep;
  readonly leftBehind?: readonly string[];
  readonly would?: string;
}

/** Another process of this CA reads the records once a minute; and a minute for the clocks of verifiers. */
const SPREAD_SECONDS = 120;

const IN_ORDER = ['retiring', 'published', 'prepared'] as const;

/** Throws rotation if none signs yet. */
export function jwtStandingOf(keys: readonly StoredJwtKey[]): JwtStanding {
  const active = keys.find(maySign);
  const says = 'no JWT key signs yet: the CA makes one within a minute, or its log says why not';
  ensure(active !== undefined, 'rotation', says);
  const endedAt = lastRemoved(keys);
  for (const stage of IN_ORDER) {
    const other = keys.find(({ state }) => state === stage);
    if (other !== undefined) return { stage, active, other, endedAt };
  }
  return { stage: 'idle', active, other: undefined, endedAt };
}

/** The waiver counts for `activate` only: a token that the retiring key has signed is not an operator's opinion. */
export function jwtStatusOf(
  standing: JwtStanding,
  found: Pick<Found, 'agents' | 'stragglers'>,
  { now, waiver }: { readonly now: Date; readonly waiver: Waiver },
): JwtStatus {
  const next = NEXT[standing.stage];
  return { ...standing, ...found, next, waits: waitsOf(standing, found, { now, waiver }) };
}

function waitsOf(
  { stage, other }: JwtStanding,
  { agents, stragglers }: Pick<Found, 'agents' | 'stragglers'>,
  { now, waiver }: { readonly now: Date; readonly waiver: Waiver },
): readonly string[] {
  if (other === undefined || stage === 'prepared') return [];
  const until = addSeconds(
    other.movedAt,
    SPREAD_SECONDS + (stage === 'published' ? REFRESH_HINT_SECONDS : MAX_TOKEN_SECONDS),
  );
  const isOver = until <= now;
  if (stage === 'retiring')
    return isOver ? [] : [`tokens that the retiring key has signed may live until ${until.toISOString()}`];
  if (waiver.everybody) return [];
  const behind = stragglers.filter(({ id }) => !waiver.without.includes(id)).length;
  return [
    ...(behind === 0
      ? []
      : [`not acknowledged by ${behind} of ${agents} connected agents: the bundle with the new JWT key`]),
    ...(isOver ? [] : [`caches may have a key set without the new key until ${until.toISOString()}`]),
  ];
}

/** Whether the key that retires is newer than the one that signs: the rotation was taken back. */
export const isTakenBack = (keys: readonly StoredJwtKey[], { stage, active, other }: JwtStanding): boolean =>
  stage === 'retiring' && other !== undefined && keys.indexOf(other) > keys.indexOf(active);

/** The key signs from now on, and the one before no longer. */
export const jwtActiveMoves = (active: StoredJwtKey, other: StoredJwtKey): readonly AuthorityMove[] => [
  { serial: active.serial, from: 'active', to: 'retiring' },
  { serial: other.serial, from: other.state, to: 'active' },
];

/** The key is in the bundle, and others that two commands at once have prepared are dropped. */
export const jwtPublishMoves = (keys: readonly StoredJwtKey[], serial: string): readonly AuthorityMove[] => [
  { serial, from: 'prepared', to: 'published' },
  ...keys
    .filter((each) => each.state === 'prepared' && each.serial !== serial)
    .map((each): AuthorityMove => ({ serial: each.serial, from: 'prepared', to: 'removed' })),
];

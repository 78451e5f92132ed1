/** What a step of a rotation does, as a person reads it before it is made: pure, from the records. */
import type { KeyHomes } from '../keys/homes.ts';
import { isOffline } from '../keys/offline.ts';
import { standingOf } from '../rotation/stage.ts';
import type { AllAuthorities } from '../store/jwt-store.ts';
import { jwtStandingOf } from './stage.ts';

/** Where new keys would be. */
export type NextKeys = {
  readonly [Kind in 'root' | 'intermediate' | 'jwt' | 'standby']: Pick<KeyHomes[Kind], 'next'>;
};

/** Of `rotate`; `sum` is the SHA-256 of the file of an offline root. */
export function beginEffectOf(
  { authorities }: AllAuthorities,
  { root }: NextKeys,
  sum: string | undefined,
): string {
  const { stage, active, other } = standingOf(authorities);
  if (stage === 'prepared') return `puts root ${other?.serial} into the bundle`;
  const made = sum === undefined ? `makes a root${keyIn(root)}` : `takes the root with SHA-256 ${sum}`;
  if (isOffline(active)) return `${made} and asks the offline root ${active.serial} to vouch for it`;
  return `${made} and puts it into the bundle; nothing signs with it yet`;
}

/** Of `rotate --intermediate`. */
export function intermediateEffectOf({ authorities }: AllAuthorities, { intermediate }: NextKeys): string {
  const { active } = standingOf(authorities);
  return `makes an intermediate${keyIn(intermediate)} under root ${active.serial}, which signs at once`;
}

/** Of `rotate next`. */
export function nextEffectOf({ authorities }: AllAuthorities): string {
  const { stage, other } = standingOf(authorities);
  const root = other?.serial ?? '';
  if (stage === 'prepared') return `puts root ${root} into the bundle`;
  if (stage === 'published') return `lets root ${root} sign`;
  return `removes root ${root}, which retires, and its key, for good`;
}

/** Of `rotate rollback`. */
export function rollbackEffectOf({ authorities }: AllAuthorities): string {
  const { stage, active, other } = standingOf(authorities);
  const root = other?.serial ?? '';
  if (stage === 'retiring')
    return `lets root ${root} sign again, and root ${active.serial} retires; agents renew their certificates`;
  return `removes root ${root}, which nobody relies on yet`;
}

/** Of `rotate standby`. */
export const standbyEffectOf = (_: AllAuthorities, { standby }: NextKeys): string =>
  `makes a root that stands by${keyIn(standby)}, on this machine until somebody moves it, and puts it into the bundle`;

/** Of `rotate jwt`, by its step. */
export function jwtEffectOf(
  step: 'begin' | 'next' | 'rollback',
  { jwtKeys }: AllAuthorities,
  { jwt }: NextKeys,
): string {
  const { stage, active, other } = jwtStandingOf(jwtKeys);
  const key = `JWT key ${other?.serial ?? ''}`;
  if (step === 'begin' && stage === 'idle')
    return `makes a JWT key${keyIn(jwt)} and puts it into bundle and key set; it signs nothing yet`;
  if (stage === 'prepared' && step !== 'rollback') return `puts ${key} into bundle and key set`;
  if (stage === 'published' && step === 'next') return `lets ${key} sign`;
  if (stage === 'retiring' && step === 'rollback')
    return `lets ${key} sign again, and JWT key ${active.serial} retires`;
  return `removes ${key}${step === 'next' ? ', which retires, for good' : ', which nobody relies on yet'}`;
}

const keyIn = ({ next }: Pick<KeyHomes['root'], 'next'>): string =>
  next === undefined ? '' : ` (${next.algorithm}, its key in ${next.home})`;

/** Which identities of a set facts earn, and why they do not earn the others. */
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Facts } from './identity/facts.ts';
import type { Earned } from './identity/identity.ts';
import type { ResourceSet } from './resources.ts';

type Identities = Pick<ResourceSet, 'identities'>;

export interface Matched {
  /** The default first. */
  readonly earned: readonly Earned[];
  /** The failed term of each other identity, the nearest first. */
  readonly misses: readonly string[];
}

/** Never throws for facts that earn nothing. `misses` has the nearest first. */
export function matchFacts({ identities }: Identities, facts: Facts, now: Date): Matched {
  const misses: { nearness: number; why: string }[] = [];
  const earned = identities.flatMap((identity) => {
    try {
      const earned = identity.earn(facts);
      ensureStands(earned, now);
      return [earned];
    } catch (error) {
      if (!isRefusal(error)) throw error;
      misses.push({ nearness: identity.nearness(facts), why: error.message });
      return [];
    }
  });
  const inOrder = misses.toSorted((a, b) => b.nearness - a.nearness);
  return { earned, misses: inOrder.map(({ why }) => why) };
}

/** Every SPIFFE ID that the facts earn, the default first. Throws no_identity with the nearest miss. */
export function earn({ identities }: Identities, facts: Facts, now: Date): readonly Earned[] {
  // The reasons take ten times as long as the result, and there may be thousands.
  const near = identities.filter((identity) => identity.fits(facts));
  const { earned } = matchFacts({ identities: near }, facts, now);
  if (earned.length > 0) return earned;
  const { misses } = matchFacts({ identities }, facts, now);
  throw new IdentityError('no_identity', misses[0] ?? 'the registry has no Identity at all');
}

/** Throws no_identity. */
function ensureStands({ identity, notBeyond }: Earned, now: Date): void {
  const stands = notBeyond === undefined || now < notBeyond;
  ensure(stands, 'no_identity', `${identity} is off since ${notBeyond?.toISOString()}, its until`);
}

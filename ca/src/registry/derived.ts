/** What the registry says of certificates by IssueX509: the list of their issuer, and scopes, narrower grants. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { compileSpiffePattern } from '@chancery/shared/policy/patterns/spiffe.ts';
import { hasEnded } from '@chancery/shared/policy/resources/until.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { ResourceSet } from './resources.ts';

/** Whether certificates name the list (CRL) of their issuer: as the Identity says; what a removed one gave does. */
export const namesList = ({ resources }: Pick<ResourceSet, 'resources'>, identity: string): boolean =>
  !resources.some((each) => each.kind === 'Identity' && each.name === identity && each.x509.crl === false);

/** More would hide the one that was meant. */
const MAX_NAMED = 20;

/** The scopes of the rules about this SPIFFE ID that are in force, in the order of their names. */
function scopesOf({ resources }: Pick<ResourceSet, 'resources'>, id: SpiffeId, now: Date): readonly string[] {
  const about = resources.flatMap((each) =>
    each.kind === 'Access' && each.scopes !== undefined && !hasEnded(each, now) ? [each] : [],
  );
  const own = about.filter(({ who }) => who.some((pattern) => compileSpiffePattern(pattern)(id)));
  return [...new Set(own.flatMap(({ scopes = [] }) => scopes))].toSorted();
}

/** Throws scope_unknown, with the scopes that there are, unless a rule about this SPIFFE ID has the scope. */
export function ensureScope(
  set: Pick<ResourceSet, 'resources'>,
  id: SpiffeId,
  scope: string,
  now: Date,
): void {
  const known = scopesOf(set, id, now);
  const named = known.length === 0 ? 'none' : known.slice(0, MAX_NAMED).join(', ');
  const says = `no rule in force about ${id} has the scope ${scope.slice(0, 64)}; its scopes: ${named}`;
  ensure(known.includes(scope), 'scope_unknown', says);
}

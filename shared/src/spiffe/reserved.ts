/**
 * The names that a trust domain keeps for itself: `/chancery` and all below it. No workload has one, no pattern matches
 * one, and the certificate of the CA or of an operator carries its role's mark besides (`ROLE_MARK`).
 */
import { parseSpiffeId, pathOf, type SpiffeId, type TrustDomain } from './id.ts';

/** `/chancery/ca` and `/chancery/ca/NAME`, and `/chancery/operator/NAME`. */
export type Role = 'ca' | 'operator';

const RESERVED = 'chancery';
/** `spiffe:`, nothing, the trust domain: the path starts at the fourth piece. */
const PATH_AT = 3;

/** A SPIFFE ID, or a template or pattern of them, whose first path segment is then taken as it is written. */
export const isReserved = (id: string): boolean => id.split('/', PATH_AT + 1)[PATH_AT] === RESERVED;

/** Whose name it is; undefined for a workload's, and for a reserved name that belongs to nobody. */
export function roleNamedBy(id: SpiffeId): Role | undefined {
  const [, first, role, name, ...more] = pathOf(id).split('/');
  if (first !== RESERVED || more.length > 0) return undefined;
  if (role === 'ca') return 'ca';
  return role === 'operator' && name !== undefined ? 'operator' : undefined;
}

/** The SPIFFE ID of the trust domain's own CA. */
export const caId = (trustDomain: TrustDomain): SpiffeId =>
  parseSpiffeId(`spiffe://${trustDomain}/${RESERVED}/ca`);

/** Both rotations of one CA, and what concerns authorities of every kind. */
import { openRotation } from '../rotation/rotation.ts';
import type { Agree } from '../rotation/status.ts';
import type { RotationDeps } from '../rotation/step.ts';
import type { TaintOrder, TaintReport } from '../rotation/taint.ts';
import { listed, namedAuthority } from '../rotation/taint-plan.ts';
import { openJwtRotation } from './rotation.ts';

export type Rotations = ReturnType<typeof openRotations>;

/** As `openRotation`, for the root and the JWT key. */
export function openRotations(deps: RotationDeps) {
  const [root, jwt] = [openRotation(deps), openJwtRotation(deps)];
  return {
    ...root,
    jwt,
    /** Takes an authority of any kind away whose key is stolen. */
    taint: async (order: TaintOrder, by: string, agree?: Agree): Promise<TaintReport> => {
      const { authorities, jwtKeys } = await deps.store.allAuthorities();
      const named = namedAuthority([...authorities, ...jwtKeys], order.authority);
      return named.kind === 'jwt' ? jwt.taint(named, order, by, agree) : root.taint(order, by, agree);
    },
    /** All that there ever were. */
    authorities: async () => {
      const { jwtKeys } = await deps.store.allAuthorities();
      return [...(await root.authorities()), ...jwtKeys.map((each) => listed(each, []))];
    },
  };
}

/** What every step of a rotation does: read the records, look what it waits for, move by compare-and-swap. */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Agents } from '../agents/agents.ts';
import type { Authorities } from '../authority/authorities.ts';
import type { AuthorityDeps } from '../authority/certify.ts';
import type { AuthorityMove, Numbered, StoredAuthority, Unused } from '../store/store.ts';
import { type LookDeps, look } from './look.ts';
import { type Standing, standingOf } from './stage.ts';
import { type RotationStatus, statusOf, type Waiver } from './status.ts';
import type { TaintDeps } from './taint.ts';

export interface RotationDeps extends Omit<AuthorityDeps, 'store'>, Omit<LookDeps, 'store' | 'revocations'> {
  readonly agents: Pick<Agents, 'list' | 'lastStream' | 'has' | 'onProgress'>;
  readonly revocations: TaintDeps['revocations'];
  readonly store: TaintDeps['store'];
  readonly authorities: Pick<Authorities, 'refresh'>;
  /** Throws rotation where the clock leapt ahead: what seems to have ended may be in use. */
  readonly ensureSteady: () => void;
  /** The CA's own certificate. */
  readonly own: {
    /** Resolves when it is under another root than that of this serial. */
    leave(root: string): Promise<void>;
    /** Resolves when it is under the root that peers have had longest. */
    settle(): Promise<void>;
  };
}

/** What an event of moves says besides them. */
export type MovedEvent = Omit<Extract<AuditEvent, { type: 'authority.moved' }>, 'type' | 'moves'>;

/** Where the rotation stands. Throws store. */
export async function statusNow(deps: RotationDeps, waiver?: Waiver): Promise<RotationStatus> {
  const { records, standing } = await read(deps);
  return statusOf(standing, await look(records, standing, deps), waiver);
}

/** Throws store. */
export async function read({ store }: RotationDeps) {
  const records = await store.authorities();
  return { records, standing: standingOf(records) };
}

/** What the operator does. */
export const FASTER =
  'the authorities or their certificates changed meanwhile: chancery-ca rotate status, then try again';

/** Throws rotation if no rotation is under way. */
export function otherOf({ other }: Standing): StoredAuthority {
  ensure(other !== undefined, 'rotation', 'no rotation is under way: chancery-ca rotate begins one');
  return other;
}

/** Agents hear of it when this resolves. Throws rotation if another process was faster. */
export async function move(
  moves: readonly AuthorityMove[],
  about: MovedEvent,
  { store, authorities }: RotationDeps,
  unused?: Unused,
): Promise<Numbered> {
  const moved = await store.moveAuthorities(moves, { type: 'authority.moved', moves, ...about }, unused);
  ensure(moved !== undefined, 'rotation', FASTER);
  await authorities.refresh();
  return moved;
}

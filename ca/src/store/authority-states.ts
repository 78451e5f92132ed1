/**
 * The states of an authority and the moves between them, as a verdict about records, whatever keeps them
 * (architecture.md section 7):
 *
 *   prepared    there is a key and a certificate, and nobody has heard of it
 *   published   in the bundle; nothing signs with it yet
 *   active      signs; one of each kind
 *   retiring    signs nothing new, and what it signed still counts
 *   removed     not trusted, and its key is gone
 */
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { AuthorityMove, AuthorityState, MovedKind, Numbered } from './authority-record.ts';

/** What of a record decides about its moves. */
export interface Standing extends Numbered {
  readonly serial: string;
  readonly kind: MovedKind;
  readonly state: AuthorityState;
  /** See `AuthorityMarks`. */
  readonly standby?: boolean | undefined;
}

type Moves = Readonly<Record<AuthorityState, readonly AuthorityState[]>>;

const PUBLISHED_FIRST: Moves = {
  prepared: ['published', 'removed'],
  published: ['active', 'prepared', 'removed'],
  active: ['retiring', 'removed'],
  retiring: ['active', 'removed'],
  removed: [],
};

/**
 * Every move but that to removed can be taken back. Every state may go to removed: a stolen key must not wait. A root
 * or a JWT key is published before it signs. An intermediate comes with each certificate under it and is not published.
 */
const MOVES: Readonly<Record<MovedKind, Moves>> = {
  root: PUBLISHED_FIRST,
  jwt: PUBLISHED_FIRST,
  intermediate: {
    prepared: ['active', 'removed'],
    published: [],
    active: ['retiring', 'removed'],
    retiring: ['active', 'removed'],
    removed: [],
  },
};

const IN_BUNDLE: readonly AuthorityState[] = ['published', 'active', 'retiring'];

/** Whether a text names a state. */
export const isAuthorityState = (name: string): name is AuthorityState => Object.hasOwn(MOVES.root, name);

/** Whether peers trust it by itself. */
export const isInBundle = ({ kind, state }: Pick<Standing, 'kind' | 'state'>): boolean =>
  kind !== 'intermediate' && IN_BUNDLE.includes(state);

/**
 * Whether agents are told, with the bundle, to leave it: it is still trusted and will be removed.
 */
export const isLeft = ({ kind, state }: Pick<Standing, 'kind' | 'state'>): boolean =>
  kind === 'root' && state === 'retiring';

/** Whether it is in the bundle, or about to be, for the night in which the root that signs is stolen. */
export const isStandby = ({ kind, state, standby }: Pick<Standing, 'kind' | 'state' | 'standby'>): boolean =>
  kind === 'root' && standby === true && (state === 'prepared' || state === 'published');

/** Whether anything new may be signed with it. */
export const maySign = ({ state }: Pick<Standing, 'state'>): boolean => state === 'active';

/** Whether it may sign some day, so that its key is kept. */
export const keepsKey = ({ state }: Pick<Standing, 'state'>): boolean => state !== 'removed';

/**
 * Whether `added` may be written beside what is stored. The first root is active from the start: nobody has a bundle
 * without it. So is a JWT key where none signs: nothing can be waited for. Throws store.
 */
export function ensureNew(
  stored: readonly Standing[],
  { kind, state }: Pick<Standing, 'kind' | 'state'>,
): void {
  if (kind === 'root' && state === 'active')
    ensure(stored.length === 0, 'store', 'this CA has a root already');
  else if (kind === 'jwt' && state === 'active')
    ensure(!stored.some(maySign), 'store', 'this CA has a JWT key that signs already');
  else ensure(state === 'prepared', 'store', `a new ${kind} is ${state}; it must be prepared`);
}

/**
 * What is stored after the moves, in the same order; what did not move is the same value. What changes in the bundle
 * has `sequence`: it came in or left, or agents are told to leave it, or no longer. Undefined if an authority is not in
 * the state `from`, or if two of a kind would be active: then another process was faster. Throws store for a move that
 * does not exist, if no root or no JWT key would be active, if the bundle would gain one of a kind and lose another,
 * and where a standby root would sign though none is tainted.
 */
export function afterMoves<T extends Standing>(
  stored: readonly T[],
  moves: readonly AuthorityMove[],
  { sequence, isTaint = false }: { readonly sequence: bigint; readonly isTaint?: boolean },
): readonly T[] | undefined {
  const states = new Map(stored.map(({ serial, state }) => [serial, state]));
  const known = new Map(stored.map((each) => [each.serial, each]));
  for (const { serial, from, to } of moves) {
    const each = known.get(serial);
    if (each === undefined || states.get(serial) !== from) return undefined;
    const { kind } = each;
    ensure(MOVES[kind][from].includes(to), 'store', `${kind} ${serial} cannot go from ${from} to ${to}`);
    const isCalled = to === 'active' && isStandby(each) && !isTaint;
    ensure(!isCalled, 'store', `root ${serial} stands by: it signs once the root that signs now is tainted`);
    states.set(serial, to);
  }
  const after = stored.map((each) => moved(each, states.get(each.serial) ?? each.state, sequence));
  const active = (kind: MovedKind) => after.filter((each) => each.kind === kind && maySign(each)).length;
  if (active('root') > 1 || active('intermediate') > 1 || active('jwt') > 1) return undefined;
  for (const kind of ['root', 'jwt'] as const) ensureTrusted(kind, stored, after);
  return after;
}

/** What must hold after every step of the authorities that are in the bundle. Throws store. */
function ensureTrusted(kind: 'root' | 'jwt', before: readonly Standing[], after: readonly Standing[]): void {
  const what = kind === 'root' ? 'root' : 'JWT key';
  const isMoved = (each: Standing, n: number): boolean => each.kind === kind && each !== before[n];
  const signs = after.some((each) => each.kind === kind && maySign(each));
  ensure(signs || !after.some(isMoved), 'store', `no ${what} would be active after this`);
  // Agents refuse a bundle that neither contains the one before nor is contained in it.
  const [was, is] = [before, after].map((all) =>
    all.filter((each) => each.kind === kind && isInBundle(each)).map(({ serial }) => serial),
  );
  const gains = is?.some((serial) => !was?.includes(serial));
  const loses = was?.some((serial) => !is?.includes(serial));
  ensure(
    !gains || !loses,
    'store',
    `the bundle would gain a ${what} and lose another: move one after the other`,
  );
}

function moved<T extends Standing>(before: T, state: AuthorityState, sequence: bigint): T {
  if (state === before.state) return before;
  const after = { ...before, state };
  const same = isInBundle(after) === isInBundle(before) && isLeft(after) === isLeft(before);
  return same ? after : { ...after, sequence };
}

/**
 * Rotates the JWT signing key, as rotation.ts rotates the root: each step reads the records, decides, and moves them by
 * compare-and-swap, and nothing is kept in memory.
 */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { Turns } from '@chancery/shared/ground/turns.ts';
import type { Agents } from '../agents/agents.ts';
import { whenAcknowledged } from '../agents/progress.ts';
import type { Authorities } from '../authority/authorities.ts';
import { ensureKnown } from '../rotation/fit.ts';
import { glanceOf } from '../rotation/glance.ts';
import { behind, type LookDeps } from '../rotation/look.ts';
import { type Agree, leftBehindBy, NEXT, type StepOrder, type Waiver } from '../rotation/status.ts';
import type { TaintDeps, TaintOrder } from '../rotation/taint.ts';
import type { AuthorityMove, Numbered, StoredJwtKey } from '../store/store.ts';
import { type JwtKeyDeps, makeJwtKey } from './keys.ts';
import {
  isTakenBack,
  type JwtStanding,
  type JwtStatus,
  jwtActiveMoves,
  jwtPublishMoves,
  jwtStandingOf,
  jwtStatusOf,
} from './stage.ts';
import { taintJwtKey } from './taint.ts';

/** Some of what `openRotation` takes. */
export interface JwtRotationDeps extends JwtKeyDeps, Pick<LookDeps, 'clock'> {
  readonly revocations: TaintDeps['revocations'];
  readonly agents: Pick<Agents, 'list' | 'has' | 'onProgress'>;
  readonly authorities: Pick<Authorities, 'refresh'>;
  readonly ensureSteady: () => void;
}

type MovedEvent = Omit<Extract<AuditEvent, { type: 'jwtKey.moved' }>, 'type' | 'moves'>;

const NOBODY: Waiver = { without: [], everybody: false };

/** As `openRotation`. Throws rotation, store, and what the home of JWT keys throws. */
export function openJwtRotation(deps: JwtRotationDeps) {
  const turns = new Turns(1);
  const inOrder = <T>(step: () => Promise<T>, agree?: Agree): Promise<T> =>
    turns.run(async () => {
      await agree?.(await deps.store.allAuthorities());
      return step();
    });
  const none = { unheard: [], chained: [] };
  return {
    status: () => statusNow(deps),
    glance: glanceOf(deps.clock, async () => ({ ...(await statusNow(deps)), ...none })),
    /** Makes a new key and puts it into the bundle and the key set. */
    start: (by: string, dryRun: boolean, agree?: Agree) => inOrder(() => start(by, dryRun, deps), agree),
    next: (order: StepOrder, by: string, agree?: Agree) => inOrder(() => next(order, by, deps), agree),
    /** Takes a key away that is stolen. */
    taint: (key: StoredJwtKey, order: TaintOrder, by: string, agree?: Agree) =>
      inOrder(() => taintJwtKey(key, order, by, deps), agree),
    rollback: (by: string, dryRun: boolean, agree?: Agree) =>
      inOrder(() => rollback(by, dryRun, deps), agree),
  };
}

interface Seen {
  readonly keys: readonly StoredJwtKey[];
  readonly standing: JwtStanding;
}

async function read({ store }: JwtRotationDeps): Promise<Seen> {
  const { jwtKeys: keys } = await store.allAuthorities();
  return { keys, standing: jwtStandingOf(keys) };
}

async function statusNow(deps: JwtRotationDeps): Promise<JwtStatus> {
  return statusIn((await read(deps)).standing, NOBODY, deps);
}

function statusIn(standing: JwtStanding, waiver: Waiver, deps: JwtRotationDeps): JwtStatus {
  const { stage, other, active } = standing;
  const { agents, stragglers } = behind(other ?? active, deps);
  const found = { agents, stragglers: stage === 'published' ? stragglers : [] };
  return jwtStatusOf(standing, found, { now: deps.clock.now(), waiver });
}

async function start(by: string, dryRun: boolean, deps: JwtRotationDeps): Promise<JwtStatus> {
  const { stage } = (await read(deps)).standing;
  const advice = 'chancery-ca rotate jwt status, then rotate jwt next or rotate jwt rollback';
  const isFree = stage === 'idle' || stage === 'prepared';
  ensure(isFree, 'rotation', `a rotation of the JWT key is under way (${stage}): ${advice}`);
  if (dryRun) return statusNow(deps);
  if (stage === 'idle') await makeJwtKey('prepared', deps);
  return publish(by, deps);
}

async function publish(by: string, deps: JwtRotationDeps): Promise<JwtStatus> {
  const { keys, standing } = await read(deps);
  const key = otherOf(standing);
  const { sequence } = await move(jwtPublishMoves(keys, key.serial), { by }, deps);
  await whenAcknowledged(deps.agents, { bundle: sequence }, deps.clock);
  return statusNow(deps);
}

async function next(order: StepOrder, by: string, deps: JwtRotationDeps): Promise<JwtStatus> {
  const { standing } = await read(deps);
  const key = otherOf(standing);
  const status = statusIn(standing, order, deps);
  if (!order.everybody)
    ensureKnown(order.without, { waited: status.stragglers, connected: deps.agents.list() });
  ensure(status.waits.length === 0, 'rotation', `not yet: ${status.waits.join('; ')}`);
  if (standing.stage !== 'prepared') deps.ensureSteady();
  if (order.dryRun) return status;
  const made = NEXT[standing.stage];
  if (standing.stage === 'prepared') return { ...(await publish(by, deps)), made };
  if (standing.stage === 'published')
    await move(jwtActiveMoves(standing.active, key), waivedOf(order, by, status), deps);
  else await move([{ serial: key.serial, from: key.state, to: 'removed' }], { by }, deps);
  const stragglers = standing.stage === 'published' ? status.stragglers : [];
  return { ...(await statusNow(deps)), made, leftBehind: leftBehindBy({ stragglers, unheard: [] }) };
}

/** What the audit log keeps of an operator who did not wait. */
function waivedOf(
  { without, everybody, reason }: StepOrder,
  by: string,
  { stragglers }: JwtStatus,
): MovedEvent {
  if (!everybody && stragglers.length === 0) return { by };
  return { by, leftBehind: { agents: stragglers.length }, reason, without: without.slice(0, 100) };
}

async function rollback(by: string, dryRun: boolean, deps: JwtRotationDeps): Promise<JwtStatus> {
  const { keys, standing } = await read(deps);
  const key = otherOf(standing);
  // Typed twice, a rollback must not bring back what it has just taken away.
  const says = `it is taken back already: key ${standing.active.serial} signs again`;
  const advice = `chancery-ca rotate jwt next removes key ${key.serial}`;
  ensure(!isTakenBack(keys, standing), 'rotation', `${says}; ${advice}`);
  if (dryRun) return statusNow(deps);
  const moves: readonly AuthorityMove[] =
    standing.stage === 'retiring'
      ? jwtActiveMoves(standing.active, key)
      : [{ serial: key.serial, from: key.state, to: 'removed' }];
  await move(moves, { by }, deps);
  return statusNow(deps);
}

const FASTER = 'the JWT keys changed meanwhile: chancery-ca rotate jwt status, then try again';

/** Throws rotation if no rotation is under way. */
function otherOf({ other }: JwtStanding): StoredJwtKey {
  const says = 'no rotation of the JWT key is under way: chancery-ca rotate jwt begins one';
  ensure(other !== undefined, 'rotation', says);
  return other;
}

/** Agents and the key set have it when this resolves. Throws rotation if another process was faster. */
async function move(
  moves: readonly AuthorityMove[],
  about: MovedEvent,
  { store, authorities }: JwtRotationDeps,
): Promise<Numbered> {
  const moved = await store.moveJwtKeys(moves, { type: 'jwtKey.moved', moves, ...about });
  ensure(moved !== undefined, 'rotation', FASTER);
  await authorities.refresh();
  return moved;
}

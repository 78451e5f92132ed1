/**
 * Rotates the root: prepare, publish, activate, remove, and back. Each step reads the records, decides, and moves
 * them by compare-and-swap. Nothing is kept in memory: after a crash at any point the same command goes on.
 */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { Turns } from '@chancery/shared/ground/turns.ts';
import { OWN_NODE } from '../agents/holders.ts';
import { rootOf } from '../authority/records.ts';
import { makeIntermediate, parentOf } from '../authority/settle.ts';
import { vouch } from '../authority/vouch.ts';
import type { RootFile } from '../ceremony/root.ts';
import type { StoredAuthority } from '../store/store.ts';
import { publish, standBy, start, takeAnswer } from './begin.ts';
import { ensureChain, ensureKnown } from './fit.ts';
import { glanceOf } from './glance.ts';
import { heldUnder, look } from './look.ts';
import { intermediateUnder } from './offline.ts';
import { activeMoves, intermediateMoves, issuersUnder, removeMoves } from './stage.ts';
import {
  type Agree,
  leftBehindBy,
  NEXT,
  type RotationStatus,
  type StepOrder,
  statusOf,
  totalOf,
} from './status.ts';
import { type MovedEvent, move, otherOf, type RotationDeps, read, statusNow } from './step.ts';
import { type TaintOrder, taint } from './taint.ts';
import { type ListedAuthority, listed } from './taint-plan.ts';

export type Rotation = ReturnType<typeof openRotation>;

/**
 * The steps of one CA, one after the other in this process. Each resolves with the status after it. Throws rotation
 * where a step may not be made, with what it waits for; authority_unfit, store, file, file_mode, lint.
 */
export function openRotation(deps: RotationDeps) {
  const turns = new Turns(1);
  const inOrder = <T>(step: () => Promise<T>, agree?: Agree): Promise<T> =>
    turns.run(async () => {
      await agree?.(await deps.store.allAuthorities());
      return step();
    });
  return {
    status: () => statusNow(deps),
    glance: glanceOf(deps.clock, () => statusNow(deps)),
    /** Makes a new root, or takes one that is offline, and puts it into the bundle. */
    start: (by: string, dryRun: boolean, agree?: Agree, root?: RootFile) =>
      inOrder(() => start({ root, dryRun }, by, deps), agree),
    /** Takes the word of an offline root for another one. Throws authority_answer. */
    takeVoucher: (bytes: Uint8Array, by: string, dryRun: boolean) =>
      inOrder(() => takeAnswer(bytes, by, dryRun, deps)),
    /** Goes on by one step. */
    next: (order: StepOrder, by: string, agree?: Agree) => inOrder(() => next(order, by, deps), agree),
    /** Takes the rotation back: the root that is new goes, or signs no longer. */
    rollback: (by: string, dryRun: boolean, agree?: Agree) =>
      inOrder(() => rollback(by, dryRun, deps), agree),
    /** Makes a standby root and puts it into the bundle. */
    standBy: (by: string, dryRun: boolean, agree?: Agree) => inOrder(() => standBy(by, dryRun, deps), agree),
    /** Takes an authority away whose key is stolen. */
    taint: (order: TaintOrder, by: string, agree?: Agree) => inOrder(() => taint(order, by, deps), agree),
    /** All that there ever were. */
    authorities: () => listAll(deps),
    /** Another intermediate under the active root signs from now on. */
    renewIntermediate: (by: string, dryRun: boolean, agree?: Agree) =>
      inOrder(() => renewIntermediate(by, dryRun, deps), agree),
  };
}

async function listAll(deps: RotationDeps): Promise<readonly ListedAuthority[]> {
  const records = await deps.store.authorities();
  const found: ListedAuthority[] = [];
  // One after the other: each reads pages of certificates.
  for (const each of records) found.push(listed(each, await heldUnder(records, each, deps)));
  return found;
}

async function next(order: StepOrder, by: string, deps: RotationDeps): Promise<RotationStatus> {
  const { records, standing } = await read(deps);
  const root = otherOf(standing);
  const found = await look(records, standing, deps);
  const { waits } = statusOf(standing, found, order);
  const waited = [...found.stragglers, ...found.unheard];
  if (!order.everybody) ensureKnown(order.without, { waited, connected: deps.agents.list() });
  const lists = standing.stage === 'published' && waited.length > 0 ? LISTED : '';
  ensure(waits.length === 0, 'rotation', `not yet: ${waits.join('; ')}${lists}`);
  // This step cannot be taken back.
  if (standing.stage === 'retiring') deps.ensureSteady();
  if (order.dryRun) return statusNow(deps, order);
  const made = NEXT[standing.stage];
  if (standing.stage === 'prepared') return { ...(await publish(by, deps)), made };
  if (standing.stage === 'published') await activate(root, waivedOf(order, by, found), deps);
  else await remove(records, root, by, deps);
  const leftBehind = standing.stage === 'published' ? leftBehindBy(found) : [];
  return { ...(await statusNow(deps)), made, leftBehind };
}

const LISTED =
  '. `chancery-ca rotate status` lists all; `rotate next --without SPIFFE-ID` does not wait for that one';

/** What the audit log keeps of an operator who did not wait. */
function waivedOf(
  { without, reason }: StepOrder,
  by: string,
  { stragglers, unheard }: Pick<RotationStatus, 'stragglers' | 'unheard'>,
): MovedEvent {
  if (stragglers.length === 0 && unheard.length === 0) return { by };
  const leftBehind = { agents: stragglers.length, certificates: totalOf(unheard).certificates };
  return { by, leftBehind, reason, without: without.slice(0, 100) };
}

/** The intermediate is made before the moves: with them it signs at once. */
async function activate(root: StoredAuthority, about: MovedEvent, deps: RotationDeps): Promise<void> {
  const { clock, store } = deps;
  const records = await store.authorities();
  const chosen = await intermediateUnder(records, root, deps);
  ensureChain(chosen, root, clock.now());
  // Who trusts the root of before alone learns from this entry that another one signs.
  const voucher = root.state === 'published' ? { voucher: await vouch(rootOf(records), root, deps) } : {};
  await move(activeMoves(records, root, chosen), { ...about, ...voucher }, deps);
}

async function remove(
  records: readonly StoredAuthority[],
  root: StoredAuthority,
  by: string,
  deps: RotationDeps,
): Promise<void> {
  const now = deps.clock.now();
  const issuers = issuersUnder(records, root, now).map(({ serial }) => serial);
  const unused = { issuers, exceptPlatform: OWN_NODE.platform, now };
  // First: an agent that hears of the removal and dials at once has to trust the CA.
  await deps.own.leave(root.serial);
  try {
    await move(removeMoves(records, root), { by }, deps, unused);
  } catch (error) {
    await deps.own.settle();
    throw error;
  }
}

async function rollback(by: string, dryRun: boolean, deps: RotationDeps): Promise<RotationStatus> {
  const { records, standing } = await read(deps);
  const root = otherOf(standing);
  // Typed twice, a rollback must not bring back what it has just taken away.
  const isBack = standing.stage === 'retiring' && root.ordinal > standing.active.ordinal;
  const advice = `chancery-ca rotate next removes root ${root.serial}`;
  ensure(
    !isBack,
    'rotation',
    `it is taken back already: root ${standing.active.serial} signs again; ${advice}`,
  );
  if (dryRun) return statusNow(deps);
  // What signed before signs again, and the new root retires: what it has signed still counts.
  if (standing.stage === 'retiring') await activate(root, { by }, deps);
  else await move(removeMoves(records, root), { by }, deps);
  return statusNow(deps);
}

async function renewIntermediate(by: string, dryRun: boolean, deps: RotationDeps): Promise<RotationStatus> {
  const records = await deps.store.authorities();
  const root = rootOf(records);
  if (dryRun) {
    await parentOf(root, deps);
    await deps.keys.intermediate.ready?.();
    return statusNow(deps);
  }
  const made = await makeIntermediate(root, deps);
  ensureChain(made, root, deps.clock.now());
  await move(intermediateMoves(records, made), { by }, deps);
  return statusNow(deps);
}

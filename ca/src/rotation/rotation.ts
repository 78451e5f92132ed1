/**
 * Rotates the root: prepare, publish, activate, remove, and back. Each step reads the records, decides, and moves
 * them by compare-and-swap. Nothing is kept in memory: after a crash at any point the same command goes on.
 */
import { isRecent } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { OWN_NODE } from '../agents/holders.ts';
import { rootOf } from '../authority/records.ts';
import { makeIntermediate } from '../authority/settle.ts';
import { vouch } from '../authority/vouch.ts';
import type { RootFile } from '../ceremony/root.ts';
import type { StoredAuthority } from '../store/store.ts';
import { publish, standBy, start, takeAnswer } from './begin.ts';
import { ensureChain } from './fit.ts';
import { heldUnder, look } from './look.ts';
import { intermediateUnder } from './offline.ts';
import { activeMoves, intermediateMoves, issuersUnder, removeMoves, type Stage } from './stage.ts';
import { type RotationStatus, statusOf, totalOf, type Waiver } from './status.ts';
import { type MovedEvent, move, otherOf, type RotationDeps, read, statusNow } from './step.ts';
import { type TaintOrder, taint } from './taint.ts';
import { type ListedAuthority, listed } from './taint-plan.ts';

/** How an operator asks for a step. */
export interface StepOrder extends Waiver {
  /** Why the operator does not wait; may be empty. */
  readonly reason: string;
  /** Looks whether the step may be made, and does not make it. */
  readonly dryRun: boolean;
}

/** Called before a step, of what it will begin from; none comes between. What it throws ends the step. */
export type Agree = (records: readonly StoredAuthority[]) => Promise<void>;

export type Rotation = ReturnType<typeof openRotation>;

/**
 * The steps of one CA, one after the other in this process. Each resolves with the status after it. Throws rotation
 * where a step may not be made, with what it waits for; authority_unfit, store, file, file_mode, lint.
 */
export function openRotation(deps: RotationDeps) {
  let last: Promise<unknown> = Promise.resolve();
  const inOrder = <T>(step: () => Promise<T>, agree?: Agree): Promise<T> => {
    const made = last.then(async () => {
      await agree?.(await deps.store.authorities());
      return step();
    });
    last = made.catch(() => {});
    return made;
  };
  return {
    status: () => statusNow(deps),
    glance: glanceOf(deps),
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

/** What the metrics show. */
export interface Glance {
  readonly stage: Stage;
  /** How many connected agents have not acknowledged the published root. */
  readonly stragglers: number;
  /** Unexpired certificates that the next step waits for. */
  readonly certificates: number;
}

const GLANCE_SECONDS = 30;

/** Counts at most every 30 s: a scrape must not cost the store a look at all certificates. Throws store. */
function glanceOf(deps: RotationDeps): () => Promise<Glance> {
  let known: { readonly at: Date; readonly glance: Promise<Glance> } | undefined;
  return () => {
    const at = deps.clock.now();
    if (known !== undefined && isRecent(known.at, GLANCE_SECONDS, at)) return known.glance;
    const glance = statusNow(deps).then(({ stage, stragglers, unheard, chained }) => ({
      stage,
      stragglers: stragglers.length,
      certificates: totalOf([...unheard, ...chained]).certificates,
    }));
    known = { at, glance };
    return glance;
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
  ensure(waits.length === 0, 'rotation', `not yet: ${waits.join('; ')}`);
  // This step cannot be taken back.
  if (standing.stage === 'retiring') deps.ensureSteady();
  if (order.dryRun) return statusNow(deps, order);
  if (standing.stage === 'prepared') return publish(by, deps);
  if (standing.stage === 'published') await activate(root, waivedOf(order, by, found), deps);
  else await remove(records, root, by, deps);
  return statusNow(deps);
}

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
  if (dryRun) return statusNow(deps);
  const records = await deps.store.authorities();
  const root = rootOf(records);
  const made = await makeIntermediate(root, deps);
  ensureChain(made, root, deps.clock.now());
  await move(intermediateMoves(records, made), { by }, deps);
  return statusNow(deps);
}

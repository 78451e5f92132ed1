/**
 * Rotates the root: prepare, publish, activate, remove, and back. Each step reads the records, decides, and moves
 * them by compare-and-swap. Nothing is kept in memory: after a crash at any point the same command goes on.
 */
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { isRecent } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import type { Agents } from '../agents/agents.ts';
import { OWN_NODE } from '../agents/holders.ts';
import { whenAcknowledged } from '../agents/progress.ts';
import type { Authorities } from '../authority/authorities.ts';
import { type AuthorityDeps, certify, certifyStandby } from '../authority/certify.ts';
import { freshIntermediate, rootOf } from '../authority/records.ts';
import { makeIntermediate } from '../authority/settle.ts';
import { ensureVouches, vouch } from '../authority/vouch.ts';
import { isStandby } from '../store/authority-states.ts';
import type { AuthorityMove, Numbered, StoredAuthority, Unused } from '../store/store.ts';
import { ensureChain, ensureKeyOfRoot } from './fit.ts';
import { heldUnder, type LookDeps, look } from './look.ts';
import {
  activeMoves,
  intermediateMoves,
  issuersUnder,
  publishMoves,
  removeMoves,
  type Stage,
  type Standing,
  standingOf,
} from './stage.ts';
import { type RotationStatus, statusOf, totalOf, type Waiver } from './status.ts';
import { type TaintDeps, type TaintOrder, taint } from './taint.ts';
import { type ListedAuthority, listed } from './taint-plan.ts';

export interface RotationDeps extends Omit<AuthorityDeps, 'store'>, Omit<LookDeps, 'store' | 'revocations'> {
  readonly agents: Pick<Agents, 'list' | 'has' | 'onProgress'>;
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

type MovedEvent = Omit<Extract<AuditEvent, { type: 'authority.moved' }>, 'type' | 'moves'>;

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
    /** Makes a new root and puts it into the bundle. */
    start: (by: string, dryRun: boolean, agree?: Agree) => inOrder(() => start(by, dryRun, deps), agree),
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

async function statusNow(deps: RotationDeps, waiver?: Waiver): Promise<RotationStatus> {
  const { records, standing } = await read(deps);
  return statusOf(standing, await look(records, standing, deps), waiver);
}

async function read({ store }: RotationDeps) {
  const records = await store.authorities();
  return { records, standing: standingOf(records) };
}

async function start(by: string, dryRun: boolean, deps: RotationDeps): Promise<RotationStatus> {
  const { stage, active } = (await read(deps)).standing;
  ensureVouches(active);
  const underWay = `a rotation is under way (${stage}): chancery-ca rotate status, then rotate next or rotate rollback`;
  ensure(stage === 'idle' || stage === 'prepared', 'rotation', underWay);
  // Before there is a root: without a voucher agents would not take it.
  await ensureKeyOfRoot(deps);
  if (dryRun) return statusNow(deps);
  if (stage === 'idle') await certify({ kind: 'root', state: 'prepared' }, deps, undefined);
  return publish(by, deps);
}

async function listAll(deps: RotationDeps): Promise<readonly ListedAuthority[]> {
  const records = await deps.store.authorities();
  const found: ListedAuthority[] = [];
  // One after the other: each reads pages of certificates.
  for (const each of records) found.push(listed(each, await heldUnder(records, each, deps)));
  return found;
}

async function standBy(by: string, dryRun: boolean, deps: RotationDeps): Promise<RotationStatus> {
  const { records, standing } = await read(deps);
  const says = `root ${standing.standby?.serial} stands by already`;
  const advice = `if its key is lost, taint it: chancery-ca taint ${standing.standby?.serial}`;
  ensure(standing.standby === undefined, 'rotation', `${says}; ${advice}`);
  ensureVouches(standing.active);
  if (dryRun) return statusNow(deps);
  const begun = records.find((each) => isStandby(each) && each.state === 'prepared');
  const made = begun ?? (await certifyStandby(deps));
  const voucher = await vouch(standing.active, made, deps);
  const moves = publishMoves(await deps.store.authorities(), made);
  const { sequence } = await move(moves, { by, voucher }, deps);
  await whenAcknowledged(deps.agents, { bundle: sequence }, deps.clock);
  return statusNow(deps);
}

async function publish(by: string, deps: RotationDeps): Promise<RotationStatus> {
  const { records, standing } = await read(deps);
  const root = otherOf(standing);
  ensure(root.state === 'prepared', 'rotation', FASTER);
  const voucher = await vouch(standing.active, root, deps);
  const { sequence } = await move(publishMoves(records, root), { by, voucher }, deps);
  await whenAcknowledged(deps.agents, { bundle: sequence }, deps.clock);
  return statusNow(deps);
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
  const { keys, clock, store } = deps;
  const records = await store.authorities();
  const ready = await freshIntermediate(records, root, { now: clock.now(), keys: keys.intermediate });
  const chosen = ready ?? (await makeIntermediate(root, deps));
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
  const [made, signs] = [root, standing.active].map(
    ({ certificate }) => parseCertificate(certificate).notBefore,
  );
  const isBack = standing.stage === 'retiring' && made !== undefined && signs !== undefined && made > signs;
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

const FASTER =
  'the authorities or their certificates changed meanwhile: chancery-ca rotate status, then try again';

/** Throws rotation if no rotation is under way. */
function otherOf({ other }: Standing): StoredAuthority {
  ensure(other !== undefined, 'rotation', 'no rotation is under way: chancery-ca rotate begins one');
  return other;
}

/** Agents hear of it when this resolves. Throws rotation if another process was faster. */
async function move(
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

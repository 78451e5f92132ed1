/** What puts a root into the bundle: a rotation's first step, and a standby root. */
import { ensure } from '@chancery/shared/ground/errors.ts';
import { whenAcknowledged } from '../agents/progress.ts';
import { certify, certifyStandby } from '../authority/certify.ts';
import { vouch } from '../authority/vouch.ts';
import type { RootFile } from '../ceremony/root.ts';
import { isOffline } from '../keys/offline.ts';
import { adoptRoot, ensureAdoptable } from '../offline/adopt.ts';
import { isStandby } from '../store/authority-states.ts';
import type { AuthorityRecord, StoredAuthority } from '../store/store.ts';
import { ensureKeyOfRoot } from './fit.ts';
import { type TakenVoucher, takeVoucher } from './offline.ts';
import { publishMoves } from './stage.ts';
import type { RotationStatus } from './status.ts';
import { FASTER, type MovedEvent, move, otherOf, type RotationDeps, read, statusNow } from './step.ts';

/** How an operator begins a rotation. */
export interface BeginOrder {
  /** An offline root to rotate to; undefined for one that the CA makes. */
  readonly root: RootFile | undefined;
  readonly dryRun: boolean;
}

/**
 * Makes or takes a root, and publishes it where the root that signs can vouch for it here; one that is offline is
 * asked. Throws rotation, config, authority_unfit.
 */
export async function start(
  { root, dryRun }: BeginOrder,
  by: string,
  deps: RotationDeps,
): Promise<RotationStatus> {
  const { stage, active, other } = (await read(deps)).standing;
  const underWay = `a rotation is under way (${stage}): chancery-ca rotate status, then rotate next or rotate rollback`;
  const isSame = root === undefined || root.serial === other?.serial;
  ensure(stage === 'idle' || (stage === 'prepared' && isSame), 'rotation', underWay);
  // Before there is a root: without a voucher agents would not take it.
  await ensureKeyOfRoot(deps);
  if (stage === 'idle' && root !== undefined) await ensureAdoptable(root, deps);
  if (stage === 'idle' && root === undefined) await deps.keys.root.ready?.();
  if (dryRun) return statusNow(deps);
  if (stage === 'idle') await prepare(root, deps);
  return isOffline(active) ? statusNow(deps) : publish(by, deps);
}

const prepare = (root: RootFile | undefined, deps: RotationDeps): Promise<AuthorityRecord> =>
  root === undefined
    ? certify({ kind: 'root', state: 'prepared' }, deps, undefined)
    : adoptRoot(root, deps, 'prepared');

/** Makes a standby root, and publishes it as `start` does. Throws rotation. */
export async function standBy(by: string, dryRun: boolean, deps: RotationDeps): Promise<RotationStatus> {
  const { records, standing } = await read(deps);
  const says = `root ${standing.standby?.serial} stands by already`;
  const advice = `if its key is lost, taint it: chancery-ca taint ${standing.standby?.serial}`;
  ensure(standing.standby === undefined, 'rotation', `${says}; ${advice}`);
  await ensureKeyOfRoot(deps);
  if (dryRun) return statusNow(deps);
  const begun = records.find((each) => isStandby(each) && each.state === 'prepared');
  const made = begun ?? (await certifyStandby(deps));
  if (isOffline(standing.active)) return statusNow(deps);
  return put(made, { by, voucher: await vouch(standing.active, made, deps) }, deps);
}

/** Puts the root that is prepared into the bundle. Throws rotation. */
export async function publish(by: string, deps: RotationDeps): Promise<RotationStatus> {
  const { standing } = await read(deps);
  const root = otherOf(standing);
  ensure(root.state === 'prepared', 'rotation', FASTER);
  return put(root, { by, voucher: await vouch(standing.active, root, deps) }, deps);
}

/** The word of an offline root, with which a prepared root goes into the bundle. Throws authority_answer, rotation. */
export async function takeAnswer(
  bytes: Uint8Array,
  by: string,
  dryRun: boolean,
  deps: RotationDeps,
): Promise<StoredAuthority> {
  const { root, voucher }: TakenVoucher = takeVoucher(bytes, await deps.store.authorities(), deps);
  if (!dryRun) await put(root, { by, voucher }, deps);
  return root;
}

async function put(root: AuthorityRecord, about: MovedEvent, deps: RotationDeps): Promise<RotationStatus> {
  const moves = publishMoves(await deps.store.authorities(), root);
  const { sequence } = await move(moves, about, deps);
  await whenAcknowledged(deps.agents, { bundle: sequence }, deps.clock);
  return statusNow(deps);
}

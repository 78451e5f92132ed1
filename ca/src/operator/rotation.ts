/** The operator's verbs that rotate the root and the intermediate, and ask an offline root. */
import { hash } from 'node:crypto';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Imported, OpenRequest, Requests } from '../ceremony/requests.ts';
import type { Agree, Rotation, StepOrder } from '../rotation/rotation.ts';
import { standingOf } from '../rotation/stage.ts';
import { NEXT, type RotationStatus } from '../rotation/status.ts';
import type { TaintOrder, TaintReport } from '../rotation/taint.ts';
import type { StoredAuthority } from '../store/store.ts';
import type { VerbName } from './roles.ts';
import { type Acting, reading, type Verb, type VerbDeps, writing } from './verb.ts';

export interface RotateDeps extends VerbDeps {
  readonly rotation: Rotation;
  readonly requests: Pick<Requests, 'open' | 'ask' | 'take'>;
}

export interface RotateOrder {
  /** True for the intermediate, false for the root. */
  readonly intermediate: boolean;
  readonly dryRun: boolean;
}

export interface ImportOrder {
  /** The file, whole. */
  readonly answer: Uint8Array;
  readonly dryRun: boolean;
}

export interface RollbackOrder {
  readonly dryRun: boolean;
}

const MAX_REASON = 500;

/** Each resolves with the status after it, and agents are told by then. Throws rotation with what a step waits for. */
export const rotationVerbs = (deps: RotateDeps) => ({
  rotate: stepping<RotateOrder, RotationStatus>(
    'rotate',
    ({ intermediate }) => (intermediate ? 'intermediate' : 'root'),
    ({ intermediate, dryRun }, by, agree) =>
      intermediate
        ? deps.rotation.renewIntermediate(by, dryRun, agree)
        : deps.rotation.start(by, dryRun, agree),
    deps,
  ),
  rotateNext: stepping<StepOrder, RotationStatus>(
    'rotateNext',
    aboutOf,
    (order, by, agree) => {
      ensureMeant(order);
      return deps.rotation.next(order, by, agree);
    },
    deps,
  ),
  rotateRollback: stepping<RollbackOrder, RotationStatus>(
    'rotateRollback',
    () => 'root',
    ({ dryRun }, by, agree) => deps.rotation.rollback(by, dryRun, agree),
    deps,
  ),
  standBy: stepping<RollbackOrder, RotationStatus>(
    'standBy',
    () => 'standby root',
    ({ dryRun }, by, agree) => deps.rotation.standBy(by, dryRun, agree),
    deps,
  ),
  taint: stepping<TaintOrder, TaintReport>(
    'taint',
    ({ authority, reason }) => `authority ${authority}, because: ${reason}`,
    (order, by, agree) => {
      ensureReason(order.reason, 'taint');
      return deps.rotation.taint(order, by, agree);
    },
    deps,
  ),
  /** Each with the unexpired certificates under it. */
  authorities: reading('authorities', (_: undefined) => deps.rotation.authorities(), deps),
  rotationStatus: reading('rotationStatus', (_: undefined) => deps.rotation.status(), deps),
});

/** A countersignature is for the step from where the authorities are: once they have moved it would be another step. */
function stepping<Order extends { readonly dryRun: boolean }, Answer>(
  name: VerbName,
  about: (order: Order) => string,
  run: (order: Order, by: string, agree: Agree | undefined) => Promise<Answer>,
  deps: RotateDeps,
): Verb<Order, Answer> {
  const agreeOf =
    (order: Order, { takeSecond }: Acting): Agree =>
    (records) => {
      const authorities = records.map(({ serial, state }) => [serial, state]);
      return takeSecond({ exact: { order, authorities }, about: [placeOf(records), about(order)] });
    };
  return writing<Order, Answer>(
    {
      name,
      about: (order) => (order.dryRun ? undefined : about(order)),
      takesSecond: true,
      run: (order, by, acting) => run(order, by, order.dryRun ? undefined : agreeOf(order, acting)),
    },
    deps,
  );
}

/** For the second person: the stage, the roots, and what `rotate next` does. */
function placeOf(records: readonly StoredAuthority[]): string {
  const { stage, active, other } = standingOf(records);
  const others = other === undefined ? '' : `, root ${other.serial} is ${other.state}`;
  return `at stage ${stage} (root ${active.serial} signs${others}; the next step is to ${NEXT[stage]})`;
}

/** Throws message_parse, spiffe_id. */
function ensureMeant({ without, everybody, reason }: StepOrder): void {
  for (const each of without) parseSpiffeId(each);
  if (everybody) ensureReason(reason, 'yes to stragglers');
  ensureShort(reason);
}

/** Throws message_parse. */
function ensureReason(reason: string, what: string): void {
  ensure(reason.trim() !== '', 'message_parse', `${what} needs a reason`);
  ensureShort(reason);
}

/** Throws message_parse. */
function ensureShort(reason: string): void {
  ensure(reason.length <= MAX_REASON, 'message_parse', `the reason has more than ${MAX_REASON} characters`);
}

function aboutOf({ without, everybody, reason }: StepOrder): string {
  const whom = everybody ? ['without waiting for anybody'] : without.map((each) => `without ${each}`);
  return ['root', ...whom, ...(reason === '' ? [] : [`because: ${reason}`])].join(', ');
}

/** Throws authority_answer, rotation, store, file. */
export const offlineVerbs = (deps: Pick<RotateDeps, 'requests'> & VerbDeps) => ({
  authorityRequest: reading<undefined, OpenRequest | undefined>(
    'authorityRequest',
    () => deps.requests.open(),
    deps,
  ),
  askForAuthority: writing<undefined, OpenRequest>(
    { name: 'askForAuthority', about: () => 'an intermediate', run: (_, by) => deps.requests.ask(by) },
    deps,
  ),
  importAuthority: writing<ImportOrder, Imported>(
    {
      name: 'importAuthority',
      about: ({ answer, dryRun }) =>
        dryRun ? undefined : `the answer with SHA-256 ${hash('sha256', answer, 'hex')}`,
      run: ({ answer, dryRun }, by) => deps.requests.take(answer, by, dryRun),
    },
    deps,
  ),
});

/** The operator's verbs that rotate the root and the intermediate, and ask an offline root. */
import { hash } from 'node:crypto';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { Imported, OpenRequest, Requests } from '../ceremony/requests.ts';
import type { Rotation, StepOrder } from '../rotation/rotation.ts';
import type { RotationStatus } from '../rotation/status.ts';
import type { TaintOrder, TaintReport } from '../rotation/taint.ts';
import { reading, type VerbDeps, writing } from './verb.ts';

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
  rotate: writing<RotateOrder, RotationStatus>(
    {
      name: 'rotate',
      about: ({ intermediate, dryRun }) => (dryRun ? undefined : intermediate ? 'intermediate' : 'root'),
      run: ({ intermediate, dryRun }, by) =>
        intermediate ? deps.rotation.renewIntermediate(by, dryRun) : deps.rotation.start(by, dryRun),
    },
    deps,
  ),
  rotateNext: writing<StepOrder, RotationStatus>(
    {
      name: 'rotateNext',
      about: (order) => (order.dryRun ? undefined : aboutOf(order)),
      run: (order, by) => {
        ensureMeant(order);
        return deps.rotation.next(order, by);
      },
    },
    deps,
  ),
  rotateRollback: writing<RollbackOrder, RotationStatus>(
    {
      name: 'rotateRollback',
      about: ({ dryRun }) => (dryRun ? undefined : 'root'),
      run: ({ dryRun }, by) => deps.rotation.rollback(by, dryRun),
    },
    deps,
  ),
  standBy: writing<RollbackOrder, RotationStatus>(
    {
      name: 'standBy',
      about: ({ dryRun }) => (dryRun ? undefined : 'standby root'),
      run: ({ dryRun }, by) => deps.rotation.standBy(by, dryRun),
    },
    deps,
  ),
  taint: writing<TaintOrder, TaintReport>(
    {
      name: 'taint',
      about: ({ authority, reason, dryRun }) =>
        dryRun ? undefined : `authority ${authority}, because: ${reason}`,
      run: (order, by) => {
        ensureReason(order.reason, 'taint');
        return deps.rotation.taint(order, by);
      },
    },
    deps,
  ),
  /** Each with the unexpired certificates under it. */
  authorities: reading('authorities', (_: undefined) => deps.rotation.authorities(), deps),
  rotationStatus: reading('rotationStatus', (_: undefined) => deps.rotation.status(), deps),
});

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

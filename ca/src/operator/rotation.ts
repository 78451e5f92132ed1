/** The operator's verbs that rotate the root and the intermediate, and ask an offline root. */
import { hash } from 'node:crypto';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { labelOf } from '../ceremony/block.ts';
import { type RootFile, readRoot } from '../ceremony/root.ts';
import { VOUCHER_LABEL } from '../ceremony/voucher.ts';
import type { AskedAbove, AskOrder, Cross, ImportedCross, TakeOrder } from '../cross/cross.ts';
import {
  beginEffectOf,
  intermediateEffectOf,
  jwtEffectOf,
  type NextKeys,
  nextEffectOf,
  rollbackEffectOf,
  standbyEffectOf,
} from '../jwt/effects.ts';
import type { Rotations } from '../jwt/rotations.ts';
import { type JwtStatus, jwtStandingOf } from '../jwt/stage.ts';
import type { Imported } from '../offline/intermediates.ts';
import type { OpenRequest } from '../offline/open.ts';
import type { Requests } from '../offline/requests.ts';
import { standingOf } from '../rotation/stage.ts';
import type { Agree, RotationStatus, StepOrder } from '../rotation/status.ts';
import type { TaintOrder, TaintReport } from '../rotation/taint.ts';
import type { AllAuthorities } from '../store/jwt-store.ts';
import type { VerbName } from './roles.ts';
import { type Acting, reading, type Verb, type VerbDeps, writing } from './verb.ts';

export interface RotateDeps extends VerbDeps {
  readonly rotation: Rotations;
  readonly requests: Pick<Requests, 'open' | 'ask' | 'take' | 'keepUp'>;
  readonly cross: Cross;
  readonly keys: NextKeys;
}

export interface RotateOrder {
  /** True for the intermediate, false for the root. */
  readonly intermediate: boolean;
  readonly dryRun: boolean;
  /** The file with the certificate of an offline root to rotate to; empty for a root that the CA makes. */
  readonly root?: Uint8Array;
}

/** The file, whole; for a chain of a CA above its root may come along. */
export type ImportOrder = TakeOrder;

export interface RollbackOrder {
  readonly dryRun: boolean;
}

/** A step of the rotation of the JWT key. */
export interface JwtOrder extends StepOrder {
  readonly step: 'begin' | 'next' | 'rollback';
}

const MAX_REASON = 500;

const jwtVerbs = (deps: RotateDeps) => ({
  rotateJwt: stepping<JwtOrder, JwtStatus>(
    {
      name: 'rotateJwt',
      about: ({ step, ...order }) => `JWT key, ${step}${aboutOf(order)}`,
      effect: ({ step, ...order }, all) => `${jwtEffectOf(step, all, deps.keys)}${aboutOf(order)}`,
      run: ({ step, ...order }, by, agree) => {
        ensureMeant(order);
        if (step === 'next') return deps.rotation.jwt.next(order, by, agree);
        if (step === 'begin') return deps.rotation.jwt.start(by, order.dryRun, agree);
        return deps.rotation.jwt.rollback(by, order.dryRun, agree);
      },
    },
    deps,
  ),
  jwtRotationStatus: reading('jwtRotationStatus', (_: undefined) => deps.rotation.jwt.status(), deps),
});

/** What puts a root into the bundle, or another intermediate in place. */
const beginVerbs = (deps: RotateDeps) => ({
  rotate: stepping<RotateOrder, RotationStatus>(
    {
      name: 'rotate',
      about: ({ intermediate, root = NO_ROOT_FILE }) =>
        intermediate
          ? 'intermediate'
          : root.length === 0
            ? 'root'
            : `to the root with SHA-256 ${sumOf(root)}`,
      effect: ({ intermediate, root = NO_ROOT_FILE }, all) =>
        intermediate
          ? intermediateEffectOf(all, deps.keys)
          : beginEffectOf(all, deps.keys, root.length === 0 ? undefined : sumOf(root)),
      run: ({ intermediate, dryRun, root = NO_ROOT_FILE }, by, agree) =>
        intermediate
          ? deps.rotation.renewIntermediate(by, dryRun, agree)
          : deps.rotation.start(by, dryRun, agree, rootIn(root)),
    },
    deps,
  ),
  standBy: stepping<RollbackOrder, RotationStatus>(
    {
      name: 'standBy',
      about: () => 'standby root',
      effect: (_, all) => standbyEffectOf(all, deps.keys),
      run: ({ dryRun }, by, agree) => deps.rotation.standBy(by, dryRun, agree),
    },
    deps,
  ),
});

/** Each resolves with the status after it, and agents are told by then. Throws rotation with what a step waits for. */
export const rotationVerbs = (deps: RotateDeps) => ({
  ...jwtVerbs(deps),
  ...beginVerbs(deps),
  rotateNext: stepping<StepOrder, RotationStatus>(
    {
      name: 'rotateNext',
      about: (order) => `root${aboutOf(order)}`,
      effect: (order, all) => `${nextEffectOf(all)}${aboutOf(order)}`,
      run: (order, by, agree) => {
        ensureMeant(order);
        return deps.rotation.next(order, by, agree);
      },
    },
    deps,
  ),
  rotateRollback: stepping<RollbackOrder, RotationStatus>(
    {
      name: 'rotateRollback',
      about: () => 'root',
      effect: (_, all) => rollbackEffectOf(all),
      run: ({ dryRun }, by, agree) => deps.rotation.rollback(by, dryRun, agree),
    },
    deps,
  ),
  taint: stepping<TaintOrder, TaintReport>(
    {
      name: 'taint',
      about: ({ authority, reason }) => `authority ${authority}, because: ${reason}`,
      effect: ({ authority, reason }) => `takes authority ${authority} away, because: ${reason}`,
      run: (order, by, agree) => {
        ensureReason(order.reason, 'taint');
        return deps.rotation.taint(order, by, agree);
      },
    },
    deps,
  ),
  /** Each with the unexpired certificates under it. */
  authorities: reading('authorities', (_: undefined) => deps.rotation.authorities(), deps),
  rotationStatus: reading('rotationStatus', (_: undefined) => deps.rotation.status(), deps),
});

interface Stepping<Order, Answer> {
  readonly name: VerbName;
  /** For the audit log. */
  readonly about: (order: Order) => string;
  /** What it does from there, for a second person and of a dry run. */
  readonly effect: (order: Order, all: AllAuthorities) => string;
  readonly run: (order: Order, by: string, agree: Agree | undefined) => Promise<Answer>;
}

/** A countersignature is for the step from where the authorities are: once they have moved it would be another step. */
function stepping<Order extends { readonly dryRun: boolean }, Answer>(
  { name, about, effect, run }: Stepping<Order, Answer>,
  deps: RotateDeps,
): Verb<Order, Answer> {
  const agreeOf =
    (order: Order, { takeSecond }: Acting): Agree =>
    (all) => {
      const records = [...all.authorities, ...all.jwtKeys];
      const authorities = records.map(({ serial, state }) => [serial, state]);
      const place = name === 'rotateJwt' ? jwtPlaceOf(all) : placeOf(all);
      return takeSecond({ exact: { order, authorities }, about: [effect(order, all), place] });
    };
  return writing<Order, Answer>(
    {
      name,
      about: (order) => (order.dryRun ? undefined : about(order)),
      look: (order, by) => run({ ...order, dryRun: true }, by, undefined),
      takesSecond: true,
      run: async (order, by, acting) => {
        if (order.dryRun) {
          let would = '';
          const answer = await run(order, by, async (all) => {
            would = effect(order, all);
          });
          return { ...answer, would };
        }
        const answer = await run(order, by, agreeOf(order, acting));
        // What the step has to ask an offline root for, it asks now.
        await deps.requests.keepUp();
        return answer;
      },
    },
    deps,
  );
}

/** For the second person: where the authorities are. */
function placeOf({ authorities }: AllAuthorities): string {
  const { stage, active, other } = standingOf(authorities);
  const others = other === undefined ? '' : `, root ${other.serial} is ${other.state}`;
  return `now at stage ${stage} (root ${active.serial} signs${others})`;
}

/** As `placeOf`, of the JWT key. */
function jwtPlaceOf({ jwtKeys }: AllAuthorities): string {
  const { stage, active, other } = jwtStandingOf(jwtKeys);
  const others = other === undefined ? '' : `, key ${other.serial} is ${other.state}`;
  return `now at stage ${stage} of the JWT key (${active.serial} signs${others})`;
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
  return ['', ...whom, ...(reason === '' ? [] : [`because: ${reason}`])].join(', ');
}

const NO_ROOT_FILE = new Uint8Array();

/** Of the whole file, hexadecimal. */
const sumOf = (bytes: Uint8Array): string => hash('sha256', bytes, 'hex');

/** Undefined for none. Throws authority_answer, certificate_parse, lint. */
const rootIn = (bytes: Uint8Array): RootFile | undefined =>
  bytes.length === 0 ? undefined : readRoot(bytes);

/** Throws authority_answer, rotation, store, file. */
export const offlineVerbs = (deps: Pick<RotateDeps, 'requests' | 'rotation' | 'cross'> & VerbDeps) => ({
  askAbove: writing<AskOrder, AskedAbove>(
    {
      name: 'askAbove',
      about: ({ root, dryRun }) => (dryRun ? undefined : `a request for root ${root || 'that signs'}`),
      run: (order, by) => deps.cross.ask(order, by),
    },
    deps,
  ),
  authorityRequests: reading<undefined, readonly OpenRequest[]>(
    'authorityRequests',
    () => deps.requests.open(),
    deps,
  ),
  askForAuthority: writing<undefined, readonly OpenRequest[]>(
    { name: 'askForAuthority', about: () => 'an intermediate', run: (_, by) => deps.requests.ask(by) },
    deps,
  ),
  importAuthority: writing<ImportOrder, Imported | ImportedCross>(
    {
      name: 'importAuthority',
      about: ({ answer, dryRun }) => (dryRun ? undefined : `the answer with SHA-256 ${sumOf(answer)}`),
      look: (order, by) => takeIn({ ...order, dryRun: true }, by, deps),
      run: (order, by) => takeIn(order, by, deps),
    },
    deps,
  ),
});

async function takeIn(
  order: ImportOrder,
  by: string,
  deps: Pick<RotateDeps, 'requests' | 'rotation' | 'cross'>,
): Promise<Imported | ImportedCross> {
  const { answer, rootAbove, dryRun } = order;
  if (labelOf(answer) === VOUCHER_LABEL) return takeVoucher(answer, by, dryRun, deps);
  if (rootAbove.length > 0 || (await deps.cross.isFor(answer))) return deps.cross.take(order, by);
  return deps.requests.take(answer, by, dryRun);
}

async function takeVoucher(
  answer: Uint8Array,
  by: string,
  dryRun: boolean,
  { rotation, requests }: Pick<RotateDeps, 'requests' | 'rotation'>,
): Promise<Imported> {
  const { serial, certificate, notAfter } = await rotation.takeVoucher(answer, by, dryRun);
  if (!dryRun) await requests.keepUp();
  const { notBefore } = parseCertificate(certificate);
  return { kind: 'voucher', serial, notBefore, notAfter, signs: false };
}

/**
 * Takes an authority away whose key is stolen. What it signed counts no longer, another one signs, and everybody gets a
 * new certificate; all of it in one transition of the store, after which a crash changes nothing.
 */
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import type { MadeRevocation } from '@chancery/shared/revocation/revocation.ts';
import { certifiedAbove } from '@chancery/shared/x509/verify/certified-above.ts';
import type { Agents } from '../agents/agents.ts';
import { whenAcknowledged } from '../agents/progress.ts';
import { aboveAfterTaint } from '../authority/above.ts';
import type { Authorities } from '../authority/authorities.ts';
import { type AuthorityDeps, certify } from '../authority/certify.ts';
import { keyNameOf, rootOf } from '../authority/records.ts';
import { makeIntermediate } from '../authority/settle.ts';
import { vouch } from '../authority/vouch.ts';
import { isOffline } from '../keys/offline.ts';
import { isStandby } from '../store/authority-states.ts';
import type {
  AgentStore,
  AuthorityRecord,
  ChangedRevocation,
  StoredAuthority,
  StoredJwtKey,
} from '../store/store.ts';
import type { TaintStore } from '../store/taint-store.ts';
import { heldUnder, type LookDeps, look } from './look.ts';
import { readyUnder } from './offline.ts';
import { publishMoves, standingOf } from './stage.ts';
import type { Held } from './status.ts';
import { namedAuthority, planOf, type TaintPlan, taintMoves } from './taint-plan.ts';

export interface TaintDeps extends Omit<AuthorityDeps, 'store'>, Omit<LookDeps, 'store' | 'revocations'> {
  readonly agents: Pick<Agents, 'list' | 'lastStream' | 'has' | 'onProgress'>;
  readonly store: AuthorityDeps['store'] & TaintStore & Pick<AgentStore, 'holdings'>;
  readonly authorities: Pick<Authorities, 'refresh'>;
  readonly revocations: LookDeps['revocations'] & {
    /** Puts in force what the store has after `write`, when `settle` has ended. */
    change<T>(write: () => Promise<T>, settle?: (written: T) => Promise<void>): Promise<T>;
  };
  /** The CA's own certificate. */
  readonly own: { settle(): Promise<void> };
}

/** How an operator asks for it. */
export interface TaintOrder {
  /** A serial, a key identifier or the SHA-256 of a key, or the beginning of one. */
  readonly authority: string;
  /** For the audit log. */
  readonly reason: string;
  /** Looks what it would do and cost, and does nothing. */
  readonly dryRun: boolean;
}

export interface TaintReport {
  readonly authority: StoredAuthority | StoredJwtKey;
  /** Of a JWT key: the one that signs after it; undefined if a dry run would have to make one. */
  readonly jwtKey?: StoredJwtKey | undefined;
  /** The root that signs after it; undefined if a dry run would have to make one. */
  readonly root: StoredAuthority | undefined;
  /** Agents that are connected: they get new certificates by themselves. */
  readonly agents: number;
  /** Unexpired certificates under it, by SPIFFE ID: all of them are refused. */
  readonly refused: readonly Held[];
  /**
   * Holders that may not know the root that signs after it. Nobody whom they trust can tell them: they need the new
   * bundle by hand.
   */
  readonly byHand: readonly Held[];
  /** What the CA above must revoke, and what its peers refuse afterwards: a sentence each. */
  readonly above: readonly string[];
  /** Undefined after a dry run. */
  readonly revocation: MadeRevocation | undefined;
}

/** How long agents have to acknowledge a root that has to be made for them, in rounds of a second. */
const ROUNDS = 10;
/** Nobody has the bundle of this number. */
const NEVER = 2n ** 62n;
/** A peer's clock may be behind: it still takes what the authority signed for so long after its end. */
const AFTER_END_SECONDS = 86_400;

/** Throws rotation, authority_unfit, key_missing, store, file, file_mode, lint. */
export async function taint(order: TaintOrder, by: string, deps: TaintDeps): Promise<TaintReport> {
  const first = await planned(order, deps);
  const authority = first.plan.authority;
  await ensureKeyAtHand(first, deps);
  const refused = await heldUnder(first.records, authority, deps);
  if (order.dryRun) return { ...(await reportOf(first, deps)), refused, revocation: undefined };
  if (first.plan.root === undefined) await publishAnother(by, deps);
  const ready = first.plan.root === undefined ? await planned(order, deps) : first;
  const report = await reportOf(ready, deps);
  const { revocation } = await transit(ready.plan, order, by, deps);
  return { ...report, refused, revocation };
}

interface Planned {
  readonly records: readonly StoredAuthority[];
  readonly plan: TaintPlan;
}

async function planned({ authority }: TaintOrder, { store, clock }: TaintDeps): Promise<Planned> {
  const records = await store.authorities();
  return { records, plan: planOf(records, namedAuthority(records, authority), clock.now()) };
}

/** Before anything is changed. Throws rotation with what to bring: the key of a root may be far away. */
async function ensureKeyAtHand({ records, plan }: Planned, deps: TaintDeps): Promise<void> {
  const { root, needsIntermediate } = plan;
  if (root === undefined) return ensureCanVouch(rootOf(records));
  if (!needsIntermediate) return;
  if (isOffline(root)) return ensureSuccessor(plan, await successorUnder(records, plan, deps));
  if (await deps.keys.root.has(root.key)) return;
  const { home, reference } = root.key;
  const says = `the key of root ${root.serial}, which signs after this, is not at hand (${home}/${reference}.key)`;
  const lost = `if it is lost, taint ${root.serial} first`;
  const advice = `bring the folder of the standby key back into dataDir and try again; ${lost}`;
  const next = isStandby(root) ? advice : 'bring it back and try again';
  throw new IdentityError('rotation', `${says}: ${next}`);
}

/** Agents take a new root by the word of the one that signs, and by nothing else. Throws rotation. */
function ensureCanVouch(root: StoredAuthority): void {
  const says = `no other root is in the bundle, and root ${root.serial} is offline: it cannot vouch for one here`;
  const first = 'chancery-ca rotate, carry the voucher request to it, import the answer, then taint again';
  const lost = 'if its key is lost, make a new CA and give every agent its bundle by hand';
  ensure(!isOffline(root), 'rotation', `${says}. Bring a root into the bundle first: ${first}; ${lost}`);
}

/** Throws rotation where an offline root has signed nothing that could take its place. */
function ensureSuccessor({ authority, root }: TaintPlan, found: AuthorityRecord | undefined): void {
  const says = `root ${root?.serial} is offline, and has signed no intermediate but the one that goes`;
  const first = 'chancery-ca authorities request, ceremony sign where the root is, authorities import';
  const then = `then taint ${authority.serial}: until then what it signed counts`;
  ensure(found !== undefined, 'rotation', `${says}. Bring another one first: ${first}; ${then}`);
}

/** What signs without the root's key, and does not go with what is stolen. */
const successorUnder = (
  records: readonly StoredAuthority[],
  { authority, root }: TaintPlan,
  deps: TaintDeps,
): Promise<StoredAuthority | undefined> | undefined =>
  root &&
  readyUnder(
    records.filter((each) => each.serial !== authority.serial),
    root,
    deps,
  );

/** Agents that are connected get it over their streams, as long as they still believe the CA by the stolen key. */
async function publishAnother(by: string, deps: TaintDeps): Promise<void> {
  const made = await certify({ kind: 'root', state: 'prepared' }, deps, undefined);
  const records = await deps.store.authorities();
  // For agents that are connected, and only as long as the one that vouches is not tainted.
  const voucher = await vouch(rootOf(records), made, deps);
  const moves = publishMoves(records, made);
  const moved = await deps.store.moveAuthorities(moves, { type: 'authority.moved', moves, by, voucher });
  ensure(moved !== undefined, 'rotation', FASTER);
  await deps.authorities.refresh();
  for (let round = 0; round < ROUNDS; round += 1) {
    const behind = await whenAcknowledged(deps.agents, { bundle: moved.sequence }, deps.clock);
    if (behind.length === 0) return;
  }
}

async function reportOf(
  { records, plan: { authority, root } }: Planned,
  deps: TaintDeps,
): Promise<Omit<TaintReport, 'refused' | 'revocation'>> {
  const above = aboveAfterTaint(records, { authority, root }, deps.clock.now());
  const known = { authority, root, agents: deps.agents.list().length, above };
  // A root that signs or retires is in every bundle.
  if (root !== undefined && root.state !== 'published') return { ...known, byHand: [] };
  const other = root ?? { ...authority, sequence: NEVER };
  const standing = { ...standingOf(records), stage: 'published', other } as const;
  const { stragglers, unheard } = await look(records, standing, deps);
  // Those of a root that is still to be made hear of it first.
  const behind = root === undefined ? [] : stragglers;
  const late = behind.map(({ id }): Held => ({ id, certificates: 1, until: deps.clock.now() }));
  return { ...known, byHand: [...unheard, ...late] };
}

async function transit(
  plan: TaintPlan,
  { reason }: TaintOrder,
  by: string,
  deps: TaintDeps,
): Promise<ChangedRevocation> {
  const { store, authorities, revocations, own } = deps;
  const { authority, root } = plan;
  const records = await store.authorities();
  const made =
    plan.needsIntermediate && root !== undefined ? await signsThen(records, plan, deps) : undefined;
  const moves = taintMoves(await store.authorities(), plan, made);
  const { serial, kind, notAfter } = authority;
  const target = { kind: 'authority', value: keyNameOf(authority) } as const;
  const draft = {
    target,
    reason: 'keyCompromise',
    by,
    until: addSeconds(notAfter, AFTER_END_SECONDS),
  } as const;
  const above = certifiedAbove(authority.cross?.chain);
  const event = {
    type: 'authority.tainted',
    serial,
    kind,
    moves,
    reason,
    by,
    ...(above && { above }),
  } as const;
  const write = async (): Promise<ChangedRevocation> => {
    const changed = await store.taintAuthority({ authority: serial, moves, draft }, event);
    ensure(changed !== undefined, 'rotation', FASTER);
    return changed;
  };
  return revocations.change(write, async () => {
    await authorities.refresh();
    // Agents that hear of it next dial again.
    await own.settle();
  });
}

/** Always a new one where the root can make it: an older one's key was beside the stolen one. */
async function signsThen(
  records: readonly StoredAuthority[],
  plan: TaintPlan,
  deps: TaintDeps,
): Promise<AuthorityRecord | undefined> {
  const { root } = plan;
  if (root === undefined || !isOffline(root)) return root && makeIntermediate(root, deps);
  return successorUnder(records, plan, deps);
}

const FASTER = 'the authorities changed meanwhile: chancery-ca authorities, then try again';

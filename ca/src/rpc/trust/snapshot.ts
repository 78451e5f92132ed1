/** One snapshot of what agents must know, and its messages. */
import type {
  Bundle as BundleMessage,
  Policy as PolicyMessage,
  Revocations as RevocationsMessage,
  Revoked,
  WatchResponse,
} from '@chancery/proto/gen/chancery/v1/trust.ts';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import type { Revocation } from '@chancery/shared/revocation/revocation.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { bundleDigest, policyDigest, revocationsDigest } from '@chancery/shared/voucher/state-digest.ts';
import { larger, type Parts } from '../../agents/acknowledged.ts';
import type { PushedBundle } from '../../authority/records.ts';
import type { StateNotes } from '../../log/state-notes.ts';
import type { Vouchers } from '../../log/vouchers.ts';
import { policyViewOf } from '../../registry/policy-view.ts';
import type { VersionedSet } from '../../registry/registry.ts';
import { NO_STATE } from '../../succession/pushed.ts';
import type { AttestationDeps } from '../exchange/attestation.ts';

export interface SnapshotDeps extends Pick<AttestationDeps, 'authorities' | 'registry' | 'revocations'> {
  readonly vouchers: Pick<Vouchers, 'logKey' | 'list'>;
  readonly notes: Pick<StateNotes, 'of'>;
  /** The newest of the audit log; empty before the first. */
  readonly checkpoint: () => string;
}

/** A message that names no reader is of version 1, the oldest (docs/versions.md). */
const ANY_READER = 0;
/** Of a JWT key: it counts until it leaves the bundle. */
const NO_END = 0n;

type Noting = Pick<SnapshotDeps, 'notes'>;
type Signing = Pick<SnapshotDeps, 'vouchers' | 'notes' | 'checkpoint'>;

/** What was last sent on a stream. */
export interface Sent {
  readonly sequence: bigint;
  readonly parts: Parts;
  readonly policy: number;
  readonly revocations: RevocationSet;
}

/**
 * Every change of a part has a new number of the store, and parts change in the order of these numbers. So the greatest
 * number orders all states, across restarts. A part that was already sent is left out: a revocation must not send the
 * whole policy again, and the other way round.
 */
export function snapshot(id: SpiffeId, before: Sent | undefined, deps: SnapshotDeps): [Sent, WatchResponse] {
  const set = deps.registry.sets.current();
  const bundle = deps.authorities.bundle.current();
  const revoked = deps.revocations.sets.current();
  const parts = { bundle: bundle.sequence, policy: BigInt(set.version), revocations: revoked.sequence };
  const sequence = [bundle, set, revoked].map((part) => part.sequence).reduce(larger);
  const sent = { sequence, parts, policy: set.version, revocations: revoked };
  const revocations =
    before?.revocations === revoked ? undefined : revocationsMessage(revoked, before?.revocations, deps);
  const state = { sequence, revocations };
  if (before?.policy === set.version) return [sent, shared(bundle, state, deps)];
  return [sent, stateMessage(bundle, { ...state, policy: policyMessage(set, id, deps) }, deps)];
}

/** What a message has besides the bundle. */
interface State {
  readonly sequence: bigint;
  readonly policy?: PolicyMessage;
  readonly revocations: RevocationsMessage | undefined;
}

function stateMessage(
  bundle: PushedBundle,
  { sequence, policy, revocations }: State,
  deps: Signing,
): WatchResponse {
  return {
    ...NO_STATE,
    sequence,
    bundle: bundleMessage(bundle, deps),
    policy,
    revocations,
    checkpoint: deps.checkpoint(),
    takesParts: true,
  };
}

/** The last message without a policy that was made with each bundle: one for all agents, so it is encoded once. */
const messages = new WeakMap<PushedBundle, WatchResponse>();

function shared(bundle: PushedBundle, state: State, deps: Signing): WatchResponse {
  const known = messages.get(bundle);
  if (known?.sequence === state.sequence && known.revocations === state.revocations) return known;
  const message = stateMessage(bundle, state, deps);
  messages.set(bundle, message);
  return message;
}

function policyMessage(set: VersionedSet, id: SpiffeId, { notes }: Noting): PolicyMessage {
  const resources = policyViewOf(set, id).map((resource) => JSON.stringify(resource));
  const version = BigInt(set.version);
  const digest = () => policyDigest(resources);
  const note = notes.of(set, id, () => ({ part: 'policy', number: version, digest: digest() }));
  return { version, resources, note };
}

/** The last message made of each set, for all agents: it is pushed to thousands in one turn. */
const changes = new WeakMap<
  RevocationSet,
  { before: RevocationSet | undefined; message: RevocationsMessage }
>();

function revocationsMessage(
  set: RevocationSet,
  before: RevocationSet | undefined,
  { notes }: Noting,
): RevocationsMessage {
  const known = changes.get(set);
  if (known !== undefined && known.before === before) return known.message;
  const digest = () => revocationsDigest(set.list.map(revokedMessage));
  const note = notes.of(set, undefined, () => ({
    part: 'revocations',
    number: set.sequence,
    digest: digest(),
  }));
  const message = { ...changeOf(set, before), note };
  changes.set(set, { before, message });
  return message;
}

function changeOf(
  { sequence, list }: RevocationSet,
  before: RevocationSet | undefined,
): Omit<RevocationsMessage, 'note'> {
  if (before === undefined || before.sequence === 0n)
    return { sequence, list: list.map(revokedMessage), since: 0n, gone: [] };
  const [old, standing] = [numbersOf(before), numbersOf({ list })];
  return {
    sequence,
    list: list.filter(({ number }) => !old.has(number)).map(revokedMessage),
    since: before.sequence,
    gone: [...old].filter((number) => !standing.has(number)).map(BigInt),
  };
}

const numbersOf = ({ list }: Pick<RevocationSet, 'list'>) => new Set(list.map(({ number }) => number));

/** Each is made once: all of them are digested at each change. */
const revokedMessages = new WeakMap<Revocation, Revoked>();

function revokedMessage(revocation: Revocation): Revoked {
  const known = revokedMessages.get(revocation);
  if (known !== undefined) return known;
  const { number, target, serials, reason, until } = revocation;
  const message = {
    number: BigInt(number),
    ...target,
    serials: [...serials],
    reason,
    // Up to the next second: late rather than early.
    until: until === undefined ? 0n : BigInt(Math.ceil(until.getTime() / 1000)),
  };
  revokedMessages.set(revocation, message);
  return message;
}

/** The message of a bundle. */
export function bundleMessage(
  bundle: PushedBundle,
  { vouchers, notes }: Pick<SnapshotDeps, 'vouchers' | 'notes'>,
): BundleMessage {
  const { trustDomain, sequence } = bundle;
  const x509Authorities = bundle.authorities.map((der) => asBuffer(der));
  const retiringX509 = bundle.retiring.map((keyId) => asBuffer(keyId));
  const jwtAuthorities = bundle.jwtAuthorities.map(({ keyId, spki }) => ({
    keyId,
    publicKey: asBuffer(spki),
    expiresAt: NO_END,
  }));
  const all = { x509Authorities, jwtAuthorities, retiringX509 };
  const said = { ...all, trustDomain, readerVersion: ANY_READER };
  const note = notes.of(bundle, undefined, () => ({
    part: 'bundle',
    number: sequence,
    digest: bundleDigest(said),
  }));
  const crossChains = bundle.crossChains.map((chain) => ({
    certificates: chain.map((der) => asBuffer(der)),
  }));
  return { ...said, sequence, logKey: vouchers.logKey, note, crossChains };
}

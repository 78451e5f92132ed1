/** Trust.Watch and Trust.GetBundle: what agents must know, pushed. */
import {
  type Bundle as BundleMessage,
  type Policy as PolicyMessage,
  type Revocations as RevocationsMessage,
  TrustService,
  type WatchHello,
  type WatchRequest,
  type WatchResponse,
} from '@chancery/proto/gen/chancery/v1/trust.ts';
import { nodeName } from '@chancery/shared/evidence/node.ts';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Revocation } from '@chancery/shared/revocation/revocation.ts';
import type { RevocablePeer, RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { Acknowledged, type Parts } from '../../agents/acknowledged.ts';
import type { LiveAgent } from '../../agents/agents.ts';
import { gatewaysOf, policyViewOf } from '../../registry/policy-view.ts';
import type { VersionedSet } from '../../registry/registry.ts';
import { pushedTo } from '../../succession/pushed.ts';
import { callerKey } from '../caller.ts';
import { type AttestationDeps, certified, certifiedPeer } from '../exchange/attestation.ts';
import { bidi, type Stream, unary } from '../methods.ts';

const [HELLO_SECONDS, INSTANCE_BYTES] = [10, 16];

/** Anyone may call it; it answers at once. Throws rate. */
export const getBundle = (deps: AttestationDeps) =>
  unary('GetBundle', TrustService.getBundle, async (_, caller) => {
    deps.limits.call('GetBundle', callerKey(caller, deps.clock.now()));
    return bundleMessage(deps.authorities.bundle.current());
  });

/** Agents with a good SVID may call it, within the places of their node. */
export const watch = (deps: AttestationDeps) =>
  bidi('Watch', TrustService.watch, async (stream: Stream<WatchRequest, WatchResponse>) => {
    const { svid, record } = await certified(stream.caller, deps);
    deps.limits.call('Watch', nodeName(record));
    const place = deps.limits.follow(record);
    // The stream is silent while nothing changes, so its connection gives way only within the share of its node.
    const answered = stream.caller.answer?.();
    try {
      await followed(stream, { svid, record }, deps);
    } finally {
      answered?.();
      place.leave();
    }
  });

async function followed(
  stream: Stream<WatchRequest, WatchResponse>,
  { svid, record }: Awaited<ReturnType<typeof certified>>,
  deps: AttestationDeps,
): Promise<void> {
  const hello = await readHello(stream);
  const agent: LiveAgent = {
    id: svid.id,
    platform: record.platform,
    node: record.node,
    identity: record.identity,
    serial: svid.serial,
    address: stream.caller.address,
    version: hello.version.replaceAll(/[^\w.+-]/g, '?').slice(0, 64),
    connectedAt: deps.clock.now(),
    certificateNotAfter: svid.notAfter,
    acknowledged: new Acknowledged(),
  };
  const left = deps.agents.open(agent, hello.instance);
  const pushing = push(stream, agent, deps);
  const cut = untilRevoked(certifiedPeer(record), deps);
  try {
    const { id, serial, address: peer } = agent;
    await deps.store.append({ type: 'agent.connected', id, serial, peer });
    await Promise.race([readAcks({ stream, agent }, deps), cut.revoked, pushing.failed]);
  } finally {
    cut.stop();
    pushing.stop();
    left();
  }
}

async function readHello(stream: Stream<WatchRequest, WatchResponse>): Promise<WatchHello> {
  const first = (await stream.read(HELLO_SECONDS))?.message;
  ensure(first?.$case === 'hello', 'out_of_order', `expected hello, found ${first?.$case ?? 'nothing'}`);
  ensure(first.value.instance.length === INSTANCE_BYTES, 'message_parse', 'instance must be 16 bytes');
  return first.value;
}

/** `revoked` rejects with revoked_peer as soon as the peer is revoked: it may send nothing for hours. */
function untilRevoked(peer: RevocablePeer, { revocations }: AttestationDeps) {
  const { promise: revoked, reject } = Promise.withResolvers<never>();
  // There may be no waiter yet.
  revoked.catch(() => {});
  const look = (): void => {
    try {
      revocations.ensureGood(peer, 'revoked_peer');
    } catch (error) {
      reject(error);
    }
  };
  const stop = revocations.sets.onChange(look);
  // Checked again, because the hello came after the first check.
  look();
  return { revoked, stop };
}

interface Watching {
  readonly stream: Stream<WatchRequest, WatchResponse>;
  readonly agent: LiveAgent;
}

interface Pushing {
  /** Rejects if a snapshot could not be made or sent: the agent has missed a change, so its stream must end. */
  readonly failed: Promise<never>;
  stop(): void;
}

/** Ends when the caller leaves, and with expired_peer at the end of its certificate: nothing outlives it. */
async function readAcks({ stream, agent }: Watching, { clock, store }: AttestationDeps): Promise<void> {
  for (;;) {
    const left = Math.max(0, agent.certificateNotAfter.getTime() - clock.now().getTime()) / 1000;
    const message = await nextOrExpired(stream, left, agent, clock);
    if (message === undefined) return;
    ensure(message.message?.$case === 'ack', 'out_of_order', 'expected an acknowledgement');
    agent.acknowledged.take(message.message.value);
    await store.append({ type: 'agent.acknowledged', id: agent.id, ...agent.acknowledged.numbers() });
  }
}

async function nextOrExpired(
  stream: Stream<WatchRequest, WatchResponse>,
  leftSeconds: number,
  agent: LiveAgent,
  clock: Clock,
): Promise<WatchRequest | undefined> {
  try {
    const message = await stream.read(leftSeconds);
    ensure(
      clock.now() <= agent.certificateNotAfter,
      'expired_peer',
      `${agent.id} sent a message after its end`,
    );
    return message;
  } catch (error) {
    // Agents leave when they rotate, restart or end: that is no refusal.
    if (stream.signal.aborted) return undefined;
    if (!isRefusal(error, 'deadline')) throw error;
    throw new IdentityError('expired_peer', `the certificate of ${agent.id} has expired`, { cause: error });
  }
}

/** Sends the state now and after every change; a slow reader gets the newest state, not a queue of old ones. */
function push(stream: Watching['stream'], { id, acknowledged }: LiveAgent, deps: AttestationDeps): Pushing {
  let sent: Sent | undefined;
  let sending = false;
  const due = { state: false, successions: false };
  const gateway = () => gatewaysOf(deps.registry.sets.current()).has(id);
  const successions = pushedTo(gateway, deps.successions);
  const sendState = async (): Promise<void> => {
    const [next, message] = snapshot(id, sent, deps);
    const news = next.sequence !== sent?.sequence;
    sent = next;
    if (!news) return;
    acknowledged.sending(next.sequence, next.parts);
    await stream.send(message);
  };
  const send = async (): Promise<void> => {
    if (sending) return;
    sending = true;
    while (due.state || due.successions) {
      const state = due.state;
      due.state = false;
      due.successions = false;
      if (state) await sendState();
      for (const more of successions()) await stream.send(more);
    }
    sending = false;
  };
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch(() => {});
  const sendOrEnd = (what: keyof typeof due): void => {
    due[what] = true;
    send().catch((error: unknown) => {
      // The reader notices the end of the stream; a snapshot that cannot be sent then is not missed.
      if (stream.signal.aborted) return;
      deps.log.error({ err: error, id }, 'a snapshot could not be sent; the trust stream ends');
      reject(error);
    });
  };
  const { registry, authorities, revocations } = deps;
  // Only gateways hear of successions: any caller can make many, and each would wake every agent.
  let deaf = (): void => {};
  const hear = (): void => {
    deaf();
    if (gateway()) deaf = deps.successions.changes.onChange(() => sendOrEnd('successions'));
  };
  const changed = (): void => sendOrEnd('state');
  const stops = [
    registry.sets.onChange(hear),
    ...[registry.sets, authorities.bundle, revocations.sets].map((source) => source.onChange(changed)),
    () => deaf(),
  ];
  hear();
  changed();
  return {
    failed,
    stop: () => {
      for (const stop of stops) stop();
    },
  };
}

/** What was last sent on a stream. */
interface Sent {
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
function snapshot(id: SpiffeId, before: Sent | undefined, deps: AttestationDeps): [Sent, WatchResponse] {
  const set = deps.registry.sets.current();
  const bundle = deps.authorities.bundle.current();
  const revoked = deps.revocations.sets.current();
  const parts = { bundle: bundle.sequence, policy: BigInt(set.version), revocations: revoked.sequence };
  const numbers = [bundle, set, revoked].map((part) => part.sequence);
  const [sequence = 0n] = numbers.toSorted((a, b) => Number(b - a));
  return [
    { sequence, parts, policy: set.version, revocations: revoked },
    {
      sequence,
      bundle: bundleMessage(bundle),
      policy: before?.policy === set.version ? undefined : policyMessage(set, id),
      revocations:
        before?.revocations === revoked ? undefined : revocationsMessage(revoked, before?.revocations),
      successions: [],
      readerVersion: 0,
      takesParts: true,
    },
  ];
}

function policyMessage(set: VersionedSet, id: SpiffeId): PolicyMessage {
  const resources = policyViewOf(set, id).map((resource) => JSON.stringify(resource));
  return { version: BigInt(set.version), resources };
}

/** The last message made of each set, for all agents: it is pushed to thousands in one turn. */
const changes = new WeakMap<
  RevocationSet,
  { before: RevocationSet | undefined; message: RevocationsMessage }
>();

function revocationsMessage(set: RevocationSet, before: RevocationSet | undefined): RevocationsMessage {
  const known = changes.get(set);
  if (known !== undefined && known.before === before) return known.message;
  const message = changeOf(set, before);
  changes.set(set, { before, message });
  return message;
}

function changeOf({ sequence, list }: RevocationSet, before: RevocationSet | undefined): RevocationsMessage {
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

const revokedMessage = ({ number, target, serials, reason, until }: Revocation) => ({
  number: BigInt(number),
  ...target,
  serials: [...serials],
  reason,
  // Up to the next second: late rather than early.
  until: until === undefined ? 0n : BigInt(Math.ceil(until.getTime() / 1000)),
});

/** The only kind of authorities so far; every reader may use it. */
const ONLY_X509 = { jwtAuthorities: [], readerVersion: 0 };

function bundleMessage({ trustDomain, authorities, sequence }: Bundle): BundleMessage {
  return { ...ONLY_X509, trustDomain, x509Authorities: authorities.map((der) => asBuffer(der)), sequence };
}

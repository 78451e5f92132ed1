/** Trust.Watch and Trust.GetBundle: what agents must know, pushed. */
import {
  TrustService,
  type WatchHello,
  type WatchRequest,
  type WatchResponse,
} from '@chancery/proto/gen/chancery/v1/trust.ts';
import { nodeName } from '@chancery/shared/evidence/node.ts';
import { asBuffer, hex } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { RevocablePeer } from '@chancery/shared/revocation/revocation-set.ts';
import type { SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { Acknowledged } from '../../agents/acknowledged.ts';
import type { LiveAgent } from '../../agents/agents.ts';
import type { Serving } from '../../agents/serving.ts';
import { gatewaysOf } from '../../registry/policy-view.ts';
import { NO_STATE, pushedTo } from '../../succession/pushed.ts';
import { callerKey } from '../caller.ts';
import { type AttestationDeps, certified, certifiedPeer } from '../exchange/attestation.ts';
import { readHello } from '../exchange/hello.ts';
import { bidi, type Stream, unary } from '../methods.ts';
import { type CrlsDeps, listsMessage } from './crls.ts';
import { inSlices } from './slices.ts';
import { bundleMessage, type Sent, type SnapshotDeps, snapshot } from './snapshot.ts';

/** What the trust stream needs of the CA. */
type TrustDeps = SnapshotDeps &
  CrlsDeps &
  ServingDeps &
  Pick<AttestationDeps, 'store' | 'agents' | 'successions' | 'limits' | 'clock' | 'log'>;

export interface ServingDeps {
  /** How many gateways have each SPIFFE ID. */
  readonly serving: Serving;
}

/** Anyone may call it; it answers at once. Throws rate. */
export const getBundle = (deps: TrustDeps) =>
  unary('GetBundle', TrustService.getBundle, async (_, caller) => {
    deps.limits.call('GetBundle', callerKey(caller, deps.clock.now()));
    return bundleMessage(deps.authorities.bundle.current(), deps);
  });

/** Anyone may call it: what it gives proves itself. Throws rate, store. */
export const getVouchers = (deps: TrustDeps) =>
  unary('GetVouchers', TrustService.getVouchers, async (_, caller) => {
    deps.limits.call('GetVouchers', callerKey(caller, deps.clock.now()));
    const proofs = await deps.vouchers.list();
    return { proofs: proofs.map((proof) => asBuffer(proof)) };
  });

/** A change is one message for thousands of agents. */
const encoded = new WeakMap<WatchResponse, Buffer>();
const WATCH = {
  ...TrustService.watch,
  responseSerialize: (message: WatchResponse): Buffer => {
    const bytes = encoded.get(message) ?? TrustService.watch.responseSerialize(message);
    encoded.set(message, bytes);
    return bytes;
  },
};

/** Agents with a good SVID may call it, within the places of their node. */
export const watch = (deps: TrustDeps) =>
  bidi('Watch', WATCH, async (stream: Stream<WatchRequest, WatchResponse>) => {
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
  deps: TrustDeps,
): Promise<void> {
  const hello = await readHello<WatchHello>(stream);
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
  const served = deps.serving.open(agent, hex(hello.instance));
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
    served(isGateway(agent.id, deps));
  }
}

const isGateway = (id: SpiffeId, { registry }: Pick<TrustDeps, 'registry'>): boolean =>
  gatewaysOf(registry.sets.current()).has(id);

/** `revoked` rejects with revoked_peer as soon as the peer is revoked: it may send nothing for hours. */
function untilRevoked(peer: RevocablePeer, { revocations }: TrustDeps) {
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
async function readAcks({ stream, agent }: Watching, { agents, clock, store }: TrustDeps): Promise<void> {
  for (;;) {
    const left = Math.max(0, agent.certificateNotAfter.getTime() - clock.now().getTime()) / 1000;
    const message = await nextOrExpired(stream, left, agent, clock);
    if (message === undefined) return;
    ensure(message.message?.$case === 'ack', 'out_of_order', 'expected an acknowledgement');
    agents.acknowledge(agent, message.message.value);
    // A change is acknowledged by thousands at once: writing that must not delay those who have not heard of it.
    store.appendSoon({ type: 'agent.acknowledged', id: agent.id, ...agent.acknowledged.numbers() });
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

/** News of lists must not delay a state: the lists of a revocation are made just when the next revocation comes. */
const unhurried = inSlices();

/** Sends the state now and after every change; a slow reader gets the newest state, not a queue of old ones. */
function push(stream: Watching['stream'], { id, acknowledged }: LiveAgent, deps: TrustDeps): Pushing {
  let sent: Sent | undefined;
  let sending = false;
  const due = { gateways: false, state: false, successions: false, crls: false };
  const gateway = () => isGateway(id, deps);
  const successions = pushedTo(gateway, deps.successions);
  const sendState = async (): Promise<void> => {
    const [next, message] = snapshot(id, sent, deps);
    const news = next.sequence !== sent?.sequence;
    sent = next;
    if (!news) return;
    acknowledged.sending(next.sequence, next.parts);
    // With its policy: a gateway must not take a rate for its own alone.
    const shares = message.policy !== undefined && gateway();
    await stream.send(shares ? { ...message, gateways: deps.serving.count(id) } : message);
  };
  const send = async (): Promise<void> => {
    if (sending) return;
    sending = true;
    while (Object.values(due).includes(true)) {
      const { gateways, state, crls } = due;
      Object.assign(due, { gateways: false, state: false, successions: false, crls: false });
      if (gateways) await stream.send({ ...NO_STATE, gateways: deps.serving.count(id) });
      if (state) await sendState();
      if (crls && deps.crls.has()) await stream.send(listsMessage(deps.crls.current()));
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
  return { failed, stop: listen(id, sendOrEnd, deps) };
}

/** Says what is to be sent, now and from now on, until the returned function is called. */
function listen(
  id: SpiffeId,
  send: (what: 'gateways' | 'state' | 'successions' | 'crls') => void,
  deps: TrustDeps,
): () => void {
  const { registry, authorities, revocations, successions, serving, crls } = deps;
  // Only gateways hear of successions: any caller can make many, and each would wake every agent.
  let deaf: (() => void)[] = [];
  const hear = (): void => {
    for (const stop of deaf) stop();
    deaf = isGateway(id, deps)
      ? [
          successions.changes.onChange(() => send('successions')),
          serving.onChange(id, () => send('gateways')),
        ]
      : [];
  };
  const changed = (): void => send('state');
  const stops = [
    registry.sets.onChange(hear),
    ...[registry.sets, authorities.bundle, revocations.sets].map((source) => source.onChange(changed)),
    crls.onChange(() => unhurried(() => send('crls'))),
    () => {
      for (const stop of deaf) stop();
    },
  ];
  hear();
  changed();
  send('crls');
  return () => {
    for (const stop of stops) stop();
  };
}

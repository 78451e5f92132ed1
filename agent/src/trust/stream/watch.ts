/** The trust stream: what the CA pushes, put in force and on disk before it is acknowledged. */
import {
  type Succession,
  TrustClient,
  type WatchRequest,
  type WatchResponse,
} from '@chancery/proto/gen/chancery/v1/trust.ts';
import { backoffSeconds } from '@chancery/shared/ground/backoff.ts';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import type * as grpc from '@grpc/grpc-js';
import { isUnauthenticated, refusalFromCa, type Target } from '../../svid/channel.ts';
import { askVouchers } from '../vouching.ts';
import { type Handing, handBack } from './hand-back.ts';
import { type SnapshotDeps, Snapshots } from './snapshots.ts';
import { handBackLater } from './still-owed.ts';

export interface WatchDeps extends SnapshotDeps {
  readonly svid: Source<Svid>;
  readonly targetFor: (svid: Svid) => Target;
  /** Looks whether the agent slept through a rotation, where the CA could not be reached. Does not throw. */
  readonly recovers: (error: unknown) => Promise<boolean>;
  /** Called with the certificate (DER) that the CA has refused a stream with. */
  readonly onRefused: (certificate: Uint8Array) => void;
  /** What the CA gets back before the first stream is open. */
  readonly handing: Handing;
  /** Called with certificates that replaced others, at gateways. */
  readonly onSuccessions: (list: readonly Succession[]) => void;
  /** Called with the name of the CA's revocation lists, which differs when one of them does. */
  readonly onCrls: (state: Uint8Array) => void;
  /** Called with how many gateways have the SPIFFE ID of this one. */
  readonly onGateways: (count: number) => void;
  /** Called with undefined when the stream is up, and with the reason when it is down. */
  readonly onState?: (failure: string | undefined) => void;
  readonly instance: Uint8Array;
  readonly version: string;
}

const RETRY = { firstSeconds: 0.5, lastSeconds: 30, spread: 0.2 };
/** The CA sends what is in force as soon as the stream is open. */
const FIRST_SNAPSHOT_SECONDS = 10;
/** How long a hand-back may take. After that the agent follows the CA and tries again. */
const HAND_BACK_SECONDS = 15;

/** Keeps one stream open until the signal; a new SVID gets a new stream before the old one is closed. */
export async function watchTrust(deps: WatchDeps, signal: AbortSignal): Promise<void> {
  let failures = 0;
  while (!signal.aborted) {
    try {
      await watchOn(deps, signal, () => {
        failures = 0;
      });
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      if (await deps.recovers(error)) continue;
      if (isUnauthenticated(error)) onRefused(deps);
      deps.onState?.(error instanceof Error ? error.message : String(error));
      deps.log.warn(
        { err: error, failures },
        'the trust stream is down; the last bundle, policy and revocations stay in force',
      );
      await pause(deps, backoffSeconds(RETRY, failures, deps.random()), signal);
    }
  }
}

function onRefused({ svid, onRefused }: WatchDeps): void {
  const [certificate] = svid.current().chain;
  if (certificate !== undefined) onRefused(certificate);
}

/** A new SVID ends the pause: the CA may have refused the old one. */
async function pause({ clock, svid }: WatchDeps, seconds: number, signal: AbortSignal): Promise<void> {
  const rotated = new AbortController();
  const stop = svid.onChange(() => rotated.abort());
  const until = AbortSignal.any([signal, rotated.signal]);
  await clock.sleepUntil(addSeconds(clock.now(), seconds), until).catch(() => {});
  stop();
}

/** Ends by throwing why a stream ended. */
async function watchOn(deps: WatchDeps, signal: AbortSignal, onSnapshot: () => void): Promise<void> {
  // Two streams while one replaces the other: both must end together with this.
  const open = new Set<TrustStream>();
  const closeAll = () => {
    for (const stream of open) stream.close();
  };
  const ended = new AbortController();
  let newest: TrustClient;
  const next = async (): Promise<TrustStream> => {
    const reached = reach(deps);
    const isOwed = open.size === 0 && !(await handsBack(reached.client, deps));
    newest = reached.client;
    const stream = openStream(deps, reached, onSnapshot);
    // The signal may have come meanwhile.
    if (signal.aborted) stream.close();
    open.add(stream);
    await untilHeard(stream, deps.clock);
    deps.onState?.(undefined);
    if (isOwed) void handBackLater({ ...deps, client: () => newest }, ended.signal);
    return stream;
  };
  signal.addEventListener('abort', closeAll, { once: true });
  try {
    let stream = await next();
    for (;;) {
      await untilRotated(stream, deps.svid);
      const successor = await next();
      stream.close();
      open.delete(stream);
      stream = successor;
    }
  } finally {
    signal.removeEventListener('abort', closeAll);
    ended.abort();
    closeAll();
  }
}

/** Whether the CA has it all. What it has not is in force until it has, beside what it says. */
async function handsBack(client: TrustClient, { handing, log }: WatchDeps): Promise<boolean> {
  try {
    await handBack(client, handing, log, HAND_BACK_SECONDS);
    return true;
  } catch (error) {
    // The stream says it where the CA is not there at all.
    log.debug({ err: error }, 'the CA does not take back what it has said for now');
    return false;
  }
}

/** Throws why the stream ended, or unavailable. */
async function untilHeard({ first, ended }: TrustStream, clock: Clock): Promise<void> {
  const heard = new AbortController();
  const late = clock.sleepUntil(addSeconds(clock.now(), FIRST_SNAPSHOT_SECONDS), heard.signal).then(() => {
    throw new IdentityError('unavailable', 'the CA opened the trust stream and said nothing');
  });
  late.catch(() => {});
  try {
    await Promise.race([first, ended, late]);
  } finally {
    heard.abort();
  }
}

/** Resolves when there is another SVID than the stream's. Throws why the stream ended. */
function untilRotated(stream: TrustStream, svid: Source<Svid>): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = svid.onChange(() => settle());
    const settle = (error?: unknown): void => {
      stop();
      if (error === undefined) resolve();
      else reject(error);
    };
    stream.ended.catch(settle);
    if (svid.current() !== stream.svid) settle();
  });
}

interface TrustStream {
  readonly svid: Svid;
  /** Resolves at the first snapshot that does not end the stream, accepted or not: the replaced one gets it, too. */
  readonly first: Promise<void>;
  /** Rejects when the stream ends, for whatever reason. */
  readonly ended: Promise<void>;
  close(): void;
}

/** The CA, by the certificate of now. */
function reach({ svid: live, targetFor }: WatchDeps) {
  const svid = live.current();
  const target = targetFor(svid);
  return { svid, target, client: new TrustClient(target.address, target.credentials, target.options) };
}

function openStream(
  deps: WatchDeps,
  { svid, target, client }: ReturnType<typeof reach>,
  onSnapshot: () => void,
): TrustStream {
  const call: grpc.ClientDuplexStream<WatchRequest, WatchResponse> = client.watch();
  const first = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  // Without a waiter, a rejection must not end the process.
  ended.promise.catch(() => {});
  const close = (): void => {
    snapshots.close();
    client.close();
  };
  const end = (error: unknown): void => {
    close();
    ended.reject(error);
  };
  const snapshots = new Snapshots(deps, {
    ask: () => askVouchers(client),
    acknowledge: (value) => void call.write({ message: { $case: 'ack', value } }),
    ca: () => target.ca?.(),
    onTaken: (isWhole) => {
      first.resolve();
      if (isWhole) onSnapshot();
    },
    onSpoiled: (error) => {
      call.cancel();
      end(error);
    },
  });
  call.on('error', (error: grpc.ServiceError) => end(refusalFromCa(error)));
  call.on('end', () => end(new IdentityError('unavailable', 'the CA ended the trust stream')));
  call.on('data', (snapshot: WatchResponse) => {
    if (snapshot.successions.length > 0) deps.onSuccessions(snapshot.successions);
    if (snapshot.gateways > 0) deps.onGateways(snapshot.gateways);
    if (snapshot.crls.length > 0) deps.onCrls(snapshot.crls);
    if (snapshot.sequence !== 0n) snapshots.take(snapshot);
  });
  const { instance, version } = deps;
  call.write({ message: { $case: 'hello', value: { instance: asBuffer(instance), version } } });
  return {
    svid,
    first: first.promise,
    ended: ended.promise,
    close: () => {
      call.cancel();
      close();
    },
  };
}

/** The trust stream: what the CA pushes, put in force and on disk before it is acknowledged. */
import { TrustClient, type WatchRequest, type WatchResponse } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { asBuffer } from '@chancery/shared/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/clock.ts';
import { refusalOf } from '@chancery/shared/errors.ts';
import type { Log } from '@chancery/shared/log.ts';
import type { Source } from '@chancery/shared/source.ts';
import type { Svid } from '@chancery/shared/tls/source.ts';
import type * as grpc from '@grpc/grpc-js';
import { refusalFromCa, type Target } from '../svid/channel.ts';

export interface WatchDeps {
  readonly svid: Source<Svid>;
  readonly targetFor: (svid: Svid) => Target;
  /** Puts the snapshot in force and on disk. Throws where it must not be. */
  readonly accept: (snapshot: WatchResponse) => void;
  readonly instance: Uint8Array;
  readonly version: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

const FIRST_RETRY_SECONDS = 0.5;
const LAST_RETRY_SECONDS = 30;

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
      deps.log.warn({ err: error, failures }, 'the trust stream is down; what is known stays in force');
      const seconds = Math.min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LAST_RETRY_SECONDS);
      await pause(deps.clock, seconds * (0.8 + 0.4 * deps.random()), signal);
    }
  }
}

async function pause(clock: Clock, seconds: number, signal: AbortSignal): Promise<void> {
  await clock.sleepUntil(addSeconds(clock.now(), seconds), signal).catch(() => {});
}

/** Ends by throwing why the newest stream ended. */
async function watchOn(deps: WatchDeps, signal: AbortSignal, onSnapshot: () => void): Promise<void> {
  let stream = openStream(deps, onSnapshot);
  const stopAll = () => stream.close();
  signal.addEventListener('abort', stopAll, { once: true });
  try {
    for (;;) {
      const next = changed(deps.svid, stream.ended);
      const rotated = await next;
      if (!rotated) return await stream.ended;
      const successor = openStream(deps, onSnapshot);
      await Promise.race([successor.first, successor.ended]).catch((error: unknown) => {
        successor.close();
        throw error;
      });
      stream.close();
      stream = successor;
      if (signal.aborted) stream.close();
    }
  } finally {
    signal.removeEventListener('abort', stopAll);
    stream.close();
  }
}

/** True at the next SVID, false when the stream has ended before. */
function changed(svid: Source<Svid>, ended: Promise<void>): Promise<boolean> {
  return new Promise((resolve) => {
    const stop = svid.onChange(() => settle(true));
    const settle = (rotated: boolean): void => {
      stop();
      resolve(rotated);
    };
    ended.catch(() => settle(false));
  });
}

interface TrustStream {
  /** Resolves at the first snapshot that is in force. */
  readonly first: Promise<void>;
  /** Rejects when the stream ends, for whatever reason. */
  readonly ended: Promise<void>;
  close(): void;
}

function openStream(deps: WatchDeps, onSnapshot: () => void): TrustStream {
  const target = deps.targetFor(deps.svid.current());
  const client = new TrustClient(target.address, target.credentials, target.options);
  const call: grpc.ClientDuplexStream<WatchRequest, WatchResponse> = client.watch();
  const first = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  // Whoever does not wait for one of them must not be ended by it.
  first.promise.catch(() => {});
  ended.promise.catch(() => {});
  const end = (error: unknown): void => {
    client.close();
    first.reject(error);
    ended.reject(error);
  };
  call.on('error', (error: grpc.ServiceError) => end(refusalFromCa(error)));
  call.on('end', () => end(refusalOf(undefined, 'unavailable', 'the CA ended the trust stream')));
  call.on('data', (snapshot: WatchResponse) => {
    try {
      deps.accept(snapshot);
    } catch (error) {
      // Not acknowledged: the operator sees that this agent has not followed.
      deps.log.error(
        { err: error, sequence: Number(snapshot.sequence) },
        'a snapshot from the CA is refused',
      );
      return;
    }
    call.write({ message: { $case: 'ack', value: { sequence: snapshot.sequence } } });
    onSnapshot();
    first.resolve();
  });
  const { instance, version } = deps;
  call.write({ message: { $case: 'hello', value: { instance: asBuffer(instance), version } } });
  return {
    first: first.promise,
    ended: ended.promise,
    close: () => {
      call.cancel();
      client.close();
    },
  };
}

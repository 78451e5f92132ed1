/**
 * What a first join makes of the authorities in the answer. A bundle file or a pin may be of a root that retires; the
 * answer is under the new one, and so are the peers.
 */
import { equal } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { LiveValue } from '@chancery/shared/ground/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { type Judge, tlsTarget } from '../svid/channel.ts';
import { followBundle, newIn } from './accept.ts';
import { fetchBundle } from './bootstrap.ts';
import { followVouchers, type Vouching } from './vouching.ts';

export interface LearnDeps {
  /** host:port of the CA. */
  readonly address: string;
  /** Whether the answers come over the CA's socket. */
  readonly isOverSocket: boolean;
  readonly clock: Clock;
  readonly revocations?: Judge['revocations'];
  /** Undefined for a program that keeps nothing: it takes what a verified CA says. */
  readonly vouching?: Vouching;
  readonly log: Log;
}

/**
 * Keeps what the CA says of its authorities, and resolves with the bundle after that. A TLS connection has proven the
 * CA by the bundle before. A socket has not: its answer counts once the CA has said the same at its TLS port.
 */
export function learnBundle(live: LiveValue<Bundle>, deps: LearnDeps) {
  return async (offered: readonly Uint8Array[]): Promise<Bundle> => {
    const known = live.current();
    if (isSame(known.authorities, offered)) return known;
    if (deps.vouching?.logKey === undefined)
      followBundle(live, { ...known, authorities: await proven(offered, known, deps) }, deps.log);
    else if (newIn(known, { authorities: offered }).length > 0) await extend(live, deps.vouching, deps);
    return live.current();
  };
}

/** What left the bundle is learned from the trust stream. */
async function extend(
  live: LiveValue<Bundle>,
  vouching: Vouching,
  { address, log }: LearnDeps,
): Promise<void> {
  try {
    await followVouchers(live, vouching, address);
  } catch (error) {
    log.warn({ err: error }, 'the CA gives no vouchers');
  }
}

async function proven(
  offered: readonly Uint8Array[],
  known: Bundle,
  { address, isOverSocket, clock, revocations, log }: LearnDeps,
): Promise<readonly Uint8Array[]> {
  if (!isOverSocket) return offered;
  const judge: Judge = { now: () => clock.now(), ...(revocations === undefined ? {} : { revocations }) };
  try {
    return await fetchBundle(tlsTarget(address, known, undefined, judge));
  } catch (error) {
    log.warn({ err: error }, 'the CA has other authorities than the bundle, and does not prove them');
    return known.authorities;
  }
}

const isSame = (a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean =>
  a.length === b.length && a.every((der) => b.some((other) => equal(der, other)));

/** The SVID with the chain that peers need which trust only a CA above, for a server of this process. */
import { equal } from '@chancery/shared/ground/bytes.ts';
import type { Clock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { type ChainsAbove, fullChain, type WrittenChain } from './full-chain.ts';

export interface FullSvidDeps {
  readonly svid: Source<Svid>;
  readonly bundle: Source<Bundle>;
  /** As the CA sent them. */
  readonly crossChains: Pick<Source<ChainsAbove['crossChains']>, 'current' | 'onChange'>;
  readonly clock: Clock;
  readonly log: Log;
}

export interface FullSvid {
  /** Changes with the certificate, and where another chain comes or goes. */
  readonly svid: Source<Svid>;
  /** What peers are shown: the short chain where there is no full one that they would take. */
  shown(): WrittenChain;
  /** Follows nothing any more. */
  close(): void;
}

/** Throws what the sources throw while they have no value yet. */
export function fullSvid({ svid, bundle, crossChains, clock, log }: FullSvidDeps): FullSvid {
  const now = (current: Svid): WrittenChain =>
    fullChain(current.chain, {
      bundle: bundle.current(),
      crossChains: crossChains.current(),
      now: clock.now(),
    });
  let lacked: string | undefined;
  const told = (written: WrittenChain): WrittenChain => {
    const { lacks } = written;
    if (lacks !== undefined && lacks !== lacked)
      log.warn({ lacks }, 'the gateway shows the short chain and not the full one');
    lacked = lacks;
    return written;
  };
  let shown = told(now(svid.current()));
  const full = new LiveValue<Svid>(() => new IdentityError('unavailable', 'there is no SVID yet'), {
    ...svid.current(),
    chain: shown.chain,
  });
  const change = (): void => {
    const [current, before] = [svid.current(), shown.chain];
    shown = told(now(current));
    if (!isSameChain(shown.chain, before)) full.publish({ ...current, chain: shown.chain });
  };
  const stops = [svid.onChange(change), bundle.onChange(change), crossChains.onChange(change)];
  return {
    svid: full,
    shown: () => shown,
    close: () => {
      for (const stop of stops) stop();
    },
  };
}

const isSameChain = (a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean =>
  a.length === b.length && a.every((der, n) => equal(der, b[n] ?? new Uint8Array()));

/** When an SVID has to be renewed early: an authority above it retires or is trusted no more, or the CA refuses it. */
import { equal } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { RevocationSet } from '@chancery/shared/revocation/revocation-set.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { readAuthorityKeyIdentifier, readSubjectKeyIdentifier } from '@chancery/shared/x509/extensions.ts';
import { keyNameOf } from '@chancery/shared/x509/verify/svid.ts';

export interface RetirementDeps {
  /** Subject key identifiers of authorities that retire, as the CA sent them last. */
  readonly retiring: Source<readonly Uint8Array[]>;
  readonly bundle: Source<Bundle>;
  /** Those of authorities count: peers refuse what a tainted one has signed. */
  readonly revocations: Source<RevocationSet>;
  /** The certificate (DER) that the CA has refused last, or none: a CA that was restored has not all on record. */
  readonly refused: Source<Uint8Array>;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
}

/** All agents hear of it at once: this is over how long they spread their renewals. */
const SPREAD_SECONDS = 10;
/** Peers refuse an SVID without its root in the bundle, so that renewal is worth more load at once. */
const REFUSED_SPREAD_SECONDS = 2;
/** A CA that still issues under such an authority is not asked more often. */
const AGAIN_SECONDS = 60;

/** One for each SVID that is kept fresh. */
export class Retirement {
  readonly #deps: RetirementDeps;
  #notBeforeMs = 0;

  constructor(deps: RetirementDeps) {
    this.#deps = deps;
  }

  /** Resolves when this chain (DER, the leaf first) has to be replaced. Rejects with the signal's reason. */
  async due(chain: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#deps;
    const issuers = { ...issuersOf(chain), chain };
    let spread: number | undefined;
    // The CA may take it back while this waits.
    do {
      spread = await this.#spread(issuers, signal);
      const time = addSeconds(clock.now(), random() * spread).getTime();
      await clock.sleepUntil(new Date(Math.max(time, this.#notBeforeMs)), signal);
    } while (this.#spreadNow(issuers) === undefined);
    this.#notBeforeMs = addSeconds(clock.now(), AGAIN_SECONDS).getTime();
  }

  /** Waits until there is one. */
  async #spread(issuers: Issuers, signal: AbortSignal): Promise<number> {
    const { retiring, bundle, revocations, refused } = this.#deps;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const look = (): void => {
      const spread = this.#spreadNow(issuers);
      if (spread !== undefined) resolve(spread);
    };
    const sources: readonly Source<unknown>[] = [retiring, bundle, revocations, refused];
    const stops = sources.map((each) => each.onChange(look));
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      signal.throwIfAborted();
      look();
      return await promise;
    } finally {
      for (const stop of stops) stop();
      signal.removeEventListener('abort', abort);
    }
  }

  /** Over how many seconds to spread the renewal; undefined if none is due. */
  #spreadNow(issuers: Issuers): number | undefined {
    const { all, root } = issuers;
    const roots = this.#deps.bundle.current().authorities.map(keyIdOf);
    // A root without a key identifier may be the one that is asked for.
    const hasLeft = root !== undefined && roots.every((each) => each !== undefined && !equal(each, root));
    if (hasLeft || this.#isTainted(issuers)) return REFUSED_SPREAD_SECONDS;
    if (this.#deps.refused.current() === issuers.chain[0]) return SPREAD_SECONDS;
    const retiring = this.#deps.retiring.current();
    return all.some((issuer) => isAmong(issuer, retiring)) ? SPREAD_SECONDS : undefined;
  }

  #isTainted(issuers: Issuers): boolean {
    const { revocations, bundle } = this.#deps;
    return taintedAbove(issuers, { revocations: revocations.current(), bundle: bundle.current() });
  }
}

/** What the CA has said. */
export interface Said {
  readonly revocations: RevocationSet;
  readonly bundle: Bundle;
}

/** Whether an authority above this chain (DER, the leaf first) was taken away, so that every peer refuses it. */
export const isUnderTainted = (chain: readonly Uint8Array[], said: Said): boolean =>
  taintedAbove({ ...issuersOf(chain), chain }, said);

/** Nothing is verified: the chain is the agent's own. */
function taintedAbove({ all, chain }: Issuers, { revocations, bundle }: Said): boolean {
  const revoked = revocations.list.filter(({ target }) => target.kind === 'authority');
  if (revoked.length === 0) return false;
  const known = [...chain.slice(1), ...bundle.authorities];
  const above = known.filter((der) => {
    const keyId = keyIdOf(der);
    return keyId !== undefined && isAmong(keyId, all);
  });
  const keys = above.map((der) => keyNameOf(parseCertificate(der)));
  return revoked.some(({ target }) => keys.includes(target.value));
}

/** Key identifiers of the authorities that issued the certificates of a chain. */
interface Issuers {
  readonly all: readonly Uint8Array[];
  /** That of the last certificate, which is in the bundle. */
  readonly root: Uint8Array | undefined;
  readonly chain: readonly Uint8Array[];
}

function issuersOf(chain: readonly Uint8Array[]): Omit<Issuers, 'chain'> {
  const all = chain.map((der) => readAuthorityKeyIdentifier(parseCertificate(der), 'svid')?.keyId);
  return { all: all.flatMap((each) => each ?? []), root: all.at(-1) };
}

const keyIdOf = (der: Uint8Array): Uint8Array | undefined =>
  readSubjectKeyIdentifier(parseCertificate(der), 'bundle');

const isAmong = (id: Uint8Array, ids: readonly Uint8Array[]): boolean => ids.some((each) => equal(each, id));

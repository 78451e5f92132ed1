/** When an SVID has to be renewed because an authority above it retires. */
import { equal } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { readAuthorityKeyIdentifier } from '@chancery/shared/x509/extensions.ts';

export interface RetirementDeps {
  /** Subject key identifiers of authorities that retire, as the CA sent them last. */
  readonly retiring: Source<readonly Uint8Array[]>;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
}

/** All agents hear of it at once: this is over how long they spread their renewals. */
const SPREAD_SECONDS = 10;
/** A CA that still issues under an authority that retires is not asked more often. */
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
    const isUnder = issuersOf(chain);
    // The CA may take it back while this waits.
    do {
      await this.#until(isUnder, signal);
      const spread = addSeconds(clock.now(), random() * SPREAD_SECONDS);
      await clock.sleepUntil(new Date(Math.max(spread.getTime(), this.#notBeforeMs)), signal);
    } while (!isUnder(this.#deps.retiring.current()));
    this.#notBeforeMs = addSeconds(clock.now(), AGAIN_SECONDS).getTime();
  }

  async #until(holds: (retiring: readonly Uint8Array[]) => boolean, signal: AbortSignal): Promise<void> {
    const { retiring } = this.#deps;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = (): void => {
      if (holds(retiring.current())) resolve();
    };
    const stop = retiring.onChange(look);
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      signal.throwIfAborted();
      look();
      await promise;
    } finally {
      stop();
      signal.removeEventListener('abort', abort);
    }
  }
}

/** Whether one of these authorities issued a certificate of the chain. */
function issuersOf(chain: readonly Uint8Array[]): (retiring: readonly Uint8Array[]) => boolean {
  const issuers = chain.flatMap(
    (der) => readAuthorityKeyIdentifier(parseCertificate(der), 'svid')?.keyId ?? [],
  );
  return (retiring) => retiring.some((each) => issuers.some((issuer) => equal(issuer, each)));
}

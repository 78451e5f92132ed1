/**
 * The life of one SVID: obtained or resumed, saved, published, renewed. It does not know how an SVID is obtained, where
 * its key is, or what else the agent holds, so that an agent can hold several beside one trust stream.
 */
import { whenSetBack } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { alarm, expiredUnnoticed } from './alarm.ts';
import { type RetryDeps, untilItWorks } from './retry.ts';
import { rotate } from './rotate.ts';

/** All of an SVID but its key. */
export type KeylessSvid = Omit<Svid, 'key'>;

export interface LifeDeps<S extends KeylessSvid> extends RetryDeps {
  /** Gets the SVID after `current`, or the first one. */
  readonly obtain: (current: S | undefined) => Promise<S>;
  /** Resolves when the SVID should be renewed before its time, and rejects at the signal. */
  readonly early?: (svid: S, signal: AbortSignal) => Promise<void>;
  /** Saves an SVID for a restart; missing if it cannot be saved. */
  readonly save?: (svid: S) => Promise<void>;
}

/** Obtains, saves, publishes and renews one SVID. Ends with the signals that `join` and `keep` get. */
export class SvidLife<S extends KeylessSvid> {
  readonly #deps: LifeDeps<S>;
  readonly #svid = new LiveValue<S>(() => new IdentityError('unavailable', 'there is no SVID yet'));
  #failure: string | undefined;

  constructor(deps: LifeDeps<S>) {
    this.#deps = deps;
  }

  /** The newest SVID; it stays there after it has expired. */
  get svid(): Source<S> & Pick<LiveValue<S>, 'has'> {
    return this.#svid;
  }

  /** Why the last renewal failed; undefined if it succeeded. */
  readonly renewalFailure = (): string | undefined => this.#failure;

  /** Begins with an SVID that was saved. It may be due for renewal; it must not have expired. */
  resume(saved: S): void {
    this.#svid.publish(saved);
    const { id, notAfter, renewAfter } = saved;
    const isDue = this.#deps.clock.now() >= renewAfter;
    const says = isDue ? 'started with the saved SVID; renewing it now' : 'started with the saved SVID';
    this.#deps.log.info({ id, notAfter }, says);
  }

  /**
   * Resolves with the first SVID, however long that takes. Throws the abort, what `obtain` refuses for good, and what
   * `givesUp` gives up on.
   */
  async join(signal: AbortSignal): Promise<S> {
    const svid = await untilItWorks(() => this.#deps.obtain(undefined), this.#deps, signal);
    this.#deps.log.info({ id: svid.id, notAfter: svid.notAfter }, 'joined');
    await this.#save(svid);
    this.#svid.publish(svid);
    return svid;
  }

  /** Keeps the SVID fresh. Needs a first one. Ends only by throwing: the abort, or a bug. */
  keep(signal: AbortSignal): Promise<never> {
    const { clock, random, log, early } = this.#deps;
    return rotate(
      this.#svid.current(),
      {
        clock,
        random,
        // An SVID may be from the future after the clock was set back.
        early: (current, until) => [whenSetBack(clock, until), ...(early ? [early(current, until)] : [])],
        renew: (current) => this.#deps.obtain(current),
        publish: (svid) => {
          log.info({ id: svid.id, notAfter: svid.notAfter }, 'rotated');
          this.#failure = undefined;
          this.#svid.publish(svid);
          void this.#save(svid);
        },
        onExpired: (svid) => {
          this.#failure = expiredUnnoticed({ clock, log, svid });
        },
        onFailure: (error, failures) => {
          this.#failure = alarm(error, failures, { clock, log, svid: this.#svid.current() });
        },
      },
      signal,
    );
  }

  /** A full disk must not take away a good certificate: only a restart needs the saved one. */
  async #save(svid: S): Promise<void> {
    try {
      await this.#deps.save?.(svid);
    } catch (error) {
      const says = 'the SVID could not be saved; after a restart the agent must join again';
      this.#deps.log.error({ err: error }, says);
    }
  }
}

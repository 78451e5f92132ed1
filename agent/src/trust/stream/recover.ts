/**
 * The way back for an agent that slept through a rotation: the CA has roots that it does not trust, beside the one that
 * stands by, and vouchers lead from those that it trusts to them.
 */
import { type Clock, isRecent } from '@chancery/shared/ground/clock.ts';
import { IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { unverifiedTarget } from '../../svid/channel.ts';
import { newIn } from '../accept.ts';
import { fetchBundle } from '../bootstrap.ts';
import type { TrustState } from '../state/trust-state.ts';
import { followVouchers } from '../vouching.ts';

export interface RecoverDeps {
  /** host:port of the CA. */
  readonly address: string;
  readonly state: Pick<TrustState, 'bundle' | 'vouching'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Between two looks. */
const PAUSE_SECONDS = 30;

/** One for each agent: its trust stream and its renewals share it. */
export class Recovery {
  readonly #deps: RecoverDeps;
  #looked: Date | undefined;
  #says: string | undefined;

  constructor(deps: RecoverDeps) {
    this.#deps = deps;
  }

  /**
   * Runs `call`, and once more where it could not reach the CA and vouchers lead to a root that the CA has. Throws what
   * `call` throws; where the CA has other roots and nothing leads to them, unavailable with that.
   */
  async around<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (await this.recovers(error)) return call();
      throw this.explained(error);
    }
  }

  /** Whether there are more authorities in the bundle than when `error` was thrown. Does not throw. */
  async recovers(error: unknown): Promise<boolean> {
    const { clock, log, state } = this.#deps;
    if (!isRefusal(error, 'unavailable') || state.vouching.logKey === undefined) return false;
    if (this.#looked !== undefined && isRecent(this.#looked, PAUSE_SECONDS, clock.now())) return false;
    this.#looked = clock.now();
    try {
      return await this.#look();
    } catch (failure) {
      log.debug({ err: failure }, 'the CA was not asked for vouchers');
      return false;
    }
  }

  /** The error with what was found out about its cause. */
  explained(error: unknown): unknown {
    if (this.#says === undefined || !isRefusal(error, 'unavailable')) return error;
    return new IdentityError('unavailable', `${error.message}; ${this.#says}`, { cause: error });
  }

  async #look(): Promise<boolean> {
    const { address, state, log } = this.#deps;
    this.#says = undefined;
    const offered = await fetchBundle(unverifiedTarget(address));
    const known = state.bundle.current();
    const strange = newIn(known, { authorities: offered }).length;
    if (strange === 0) return false;
    const found = await followVouchers(state.bundle, state.vouching, address);
    if (found === 0) {
      const trusted = offered.length - strange;
      const has = `the CA there says that it has ${offered.length} authorities, and this agent trusts ${trusted}`;
      this.#says = `${has} of them; no voucher leads to the others`;
      return false;
    }
    log.warn({ authorities: found }, 'slept through a rotation; the roots of then vouch for those of now');
    return true;
  }
}

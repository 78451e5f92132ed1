/**
 * The ways back to a CA that this agent refuses. After a rotation that it slept through the CA has roots that it does
 * not trust, and vouchers lead to them. After a restore the CA may not know that an authority above it was tainted, and
 * the agent tells it.
 */
import { TrustClient } from '@chancery/proto/gen/chancery/v1/trust.ts';
import { type Clock, isRecent } from '@chancery/shared/ground/clock.ts';
import { IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Svid } from '@chancery/shared/spiffe/svid.ts';
import { tlsTarget, unverifiedTarget } from '../../svid/channel.ts';
import { isTainted, newIn } from '../accept.ts';
import { fetchBundle } from '../bootstrap.ts';
import type { TrustState } from '../state/trust-state.ts';
import { followVouchers } from '../vouching.ts';
import { handBack } from './hand-back.ts';

export interface RecoverDeps {
  /** host:port of the CA. */
  readonly address: string;
  readonly state: Pick<TrustState, 'bundle' | 'vouching' | 'revocations' | 'toHandBack'>;
  /** Shown to a CA that does not know of a taint; undefined before the first. */
  readonly svid: () => Svid | undefined;
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
   * Runs `call`, and once more where it could not reach the CA and there is a way back. Throws what `call` throws;
   * where the CA has other roots and nothing leads to them, unavailable with that.
   */
  async around<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (await this.recovers(error)) return call();
      throw this.explained(error);
    }
  }

  /** Whether what failed with `error` may succeed now: this agent or the CA has learned something. Does not throw. */
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
    if (await this.#tellsOfTaint(offered)) return true;
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

  /**
   * Hands back to a CA that is refused for nothing but a taint: its certificate is verified as if there were none.
   * Nothing else is asked there, and nothing is taken. Whether the CA wanted it.
   */
  async #tellsOfTaint(offered: readonly Uint8Array[]): Promise<boolean> {
    const { address, state, svid, clock, log } = this.#deps;
    const revoked = state.revocations.current();
    if (!revoked.list.some(({ target }) => target.kind === 'authority')) return false;
    try {
      const bundle = state.bundle.current();
      const stolen = newIn(bundle, { authorities: offered }).filter((der) => isTainted(der, revoked));
      const before = { ...bundle, authorities: [...bundle.authorities, ...stolen] };
      const target = tlsTarget(address, before, svid(), clock);
      const client = new TrustClient(target.address, target.credentials, target.options);
      // What it answers proves nothing: the CA is asked again once it is verified.
      const handing = { toHandBack: state.toHandBack, handedBack: () => {} };
      return await handBack(client, handing, log).finally(() => client.close());
    } catch (error) {
      log.debug({ err: error }, 'the CA was not told of a taint');
      return false;
    }
  }
}

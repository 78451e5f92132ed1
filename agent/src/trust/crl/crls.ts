/**
 * Keeps the revocation lists of the CA for outputs: asks at the start, as soon as the CA says that it has others, when
 * the bundle changes, and long before a list ends.
 */
import { backoffSeconds } from '@chancery/shared/ground/backoff.ts';
import { equal } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, type Clock, earlier } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { LiveValue, type Source } from '@chancery/shared/ground/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import { acceptCrls, type HeldCrl } from './accept.ts';
import type { OfferedCrls } from './fetch.ts';
import type { SavedCrls } from './saved.ts';

export interface CrlOptions {
  /** Asks the CA. Throws a refusal. */
  readonly fetch: (signal: AbortSignal) => Promise<OfferedCrls>;
  readonly bundle: Source<Bundle>;
  /** What the CA says of its lists on the trust stream; undefined if there is no stream. */
  readonly told: Pick<Source<Uint8Array>, 'onChange'> | undefined;
  /** Where they are kept for a restart. */
  readonly saved: SavedCrls;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly log: Log;
}

export interface KeptCrls {
  /** Throws unavailable before the first. */
  readonly lists: LiveValue<readonly HeldCrl[]>;
  /** Why the lists are not those of the CA; undefined if they are. */
  failure(): string | undefined;
  /** Resolves when the work under way has ended. */
  close(): Promise<void>;
}

const RETRY = { firstSeconds: 1, lastSeconds: 60, spread: 0.2 };
/** Without a trust stream nothing tells of a new list. */
const POLL_SECONDS = 60;
/** The part of a list's life after which the CA has a new one for certain. */
const DUE_AT = 0.6;

/** Asks at once. The caller closes it. */
export function keepCrls(options: CrlOptions): KeptCrls {
  const keeper = new CrlKeeper(options);
  keeper.resume();
  const stop = new AbortController();
  const stops = [
    options.bundle.onChange(() => keeper.wake()),
    options.told?.onChange((state) => keeper.hear(state)),
  ];
  const running = keeper.run(stop.signal);
  return {
    lists: keeper.lists,
    failure: () => keeper.failure,
    close: async () => {
      for (const each of stops) each?.();
      stop.abort();
      await running;
    },
  };
}

class CrlKeeper {
  readonly lists = new LiveValue<readonly HeldCrl[]>(
    () => new IdentityError('unavailable', 'the CA has sent no revocation lists yet'),
  );
  failure: string | undefined;
  readonly #options: CrlOptions;
  #state: Uint8Array | undefined;
  #woken = new AbortController();

  constructor(options: CrlOptions) {
    this.#options = options;
  }

  /** Begins with what was saved and is still in force, by the bundle of now. */
  resume(): void {
    const { saved, bundle, clock } = this.#options;
    const { lists } = acceptCrls(saved.read(), { bundle: bundle.current(), held: [], now: clock.now() });
    if (lists.length > 0) this.lists.publish(lists);
  }

  wake(): void {
    this.#woken.abort();
  }

  /** A new stream begins with what the CA said on the one before. */
  hear(state: Uint8Array): void {
    if (this.#state === undefined || !equal(this.#state, state)) this.wake();
  }

  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      this.#woken = new AbortController();
      failures = (await this.#attempt(signal)) ? 0 : failures + 1;
      await this.#pause(failures, signal);
    }
  }

  async #attempt(signal: AbortSignal): Promise<boolean> {
    const { fetch, bundle, clock, log } = this.#options;
    try {
      const { state, lists } = await fetch(signal);
      const held = this.lists.has() ? this.lists.current() : [];
      const accepted = acceptCrls(lists, { bundle: bundle.current(), held, now: clock.now() });
      this.#state = state;
      this.failure = accepted.problems[0];
      if (accepted.lists.length > 0 && !isSame(held, accepted.lists)) {
        this.lists.publish(accepted.lists);
        await this.#options.saved.write(accepted.lists);
      }
    } catch (error) {
      if (signal.aborted) return false;
      this.failure = error instanceof Error ? error.message : String(error);
    }
    if (this.failure !== undefined)
      log.warn(
        { reason: this.failure },
        'the revocation lists (CRL) of the CA are not all taken; trying again',
      );
    return this.failure === undefined;
  }

  /** Until there is news, or the time for another attempt. */
  async #pause(failures: number, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    const now = clock.now();
    const seconds = failures > 0 ? backoffSeconds(RETRY, failures, random()) : POLL_SECONDS;
    const soon = addSeconds(now, seconds);
    const until = failures > 0 || this.#options.told === undefined ? soon : this.#due(now);
    const either = AbortSignal.any([signal, this.#woken.signal]);
    await clock.sleepUntil(until, either).catch(() => {});
  }

  #due(now: Date): Date {
    const lists = this.lists.has() ? this.lists.current() : [];
    const dues = lists.map(({ thisUpdate, nextUpdate }) =>
      addSeconds(thisUpdate, ((nextUpdate.getTime() - thisUpdate.getTime()) / 1000) * DUE_AT),
    );
    const first = dues.reduce(earlier, addSeconds(now, 3600));
    return new Date(Math.max(first.getTime(), addSeconds(now, POLL_SECONDS).getTime()));
  }
}

const isSame = (a: readonly HeldCrl[], b: readonly HeldCrl[]): boolean =>
  a.length === b.length && a.every(({ der }, n) => equal(der, b[n]?.der ?? new Uint8Array()));

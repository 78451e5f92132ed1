/** Time comes in by argument. The one real clock is here; tests bring their own. */

export interface Clock {
  /** The time by the wall clock, which may jump. */
  now(): Date;
  /**
   * Resolves at `time` on the wall clock; at once if that is past, and at most a second later than the wait at the
   * call. Rejects with the signal's reason when that aborts. With `ref` false the process may end meanwhile.
   */
  sleepUntil(time: Date, signal?: AbortSignal, options?: SleepOptions): Promise<void>;
}

/** As the options of Node's own timers. */
export interface SleepOptions {
  readonly ref: boolean;
}

/** What a clock is made of, so that a test can suspend a machine. */
export interface ClockParts {
  /** Milliseconds since 1970, which may step. */
  readonly wall: () => number;
  /** Milliseconds that only grow, and that stand still while the machine is suspended. */
  readonly monotonic: () => number;
  readonly sleep: (ms: number, signal: AbortSignal | undefined, options: SleepOptions) => Promise<void>;
}

/**
 * Timers count on the monotonic clock: they stand still while a machine is suspended and do not see a step of the wall
 * clock. So a long wait is many short ones, with a look at the wall clock after each.
 */
const LOOK_MS = 15_000;
/** What the two clocks may differ by without a step: rounding, and the slewing of a wall clock. */
const SLACK_MS = 1_000;

/** A clock of these parts. It looks at the wall clock at least every 15 s of a wait, so it notices a step. */
export function clockOf({ wall, monotonic, sleep: pause }: ClockParts): Clock {
  return {
    now: () => new Date(wall()),
    async sleepUntil(time, signal, options = { ref: true }) {
      const begun = monotonic();
      const longest = time.getTime() - wall() + SLACK_MS;
      // The second term ends a wait during which the wall clock was set back.
      const left = () => Math.min(time.getTime() - wall(), longest - (monotonic() - begun));
      for (let ms = left(); ms > 0; ms = left())
        await pause(Math.ceil(Math.min(ms, LOOK_MS)), signal, options);
      signal?.throwIfAborted();
    },
  };
}

export const systemClock: Clock = clockOf({
  wall: () => Date.now(),
  monotonic: () => performance.now(),
  sleep,
});

/** As that of node:timers/promises, which makes an error with a stack for each sleep that is ended early. */
function sleep(ms: number, signal: AbortSignal | undefined, { ref }: SleepOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', wake);
      resolve();
    }, ms);
    const wake = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', wake, { once: true });
    if (!ref) timer.unref();
  });
}

/** Less than this is the slewing of a wall clock, and not a step that makes certificates invalid. */
const STEP_BACK_MS = 60_000;

/** Resolves when the wall clock has been set back by more than a minute. Rejects with the signal's reason. */
export async function whenSetBack(clock: Clock, signal: AbortSignal): Promise<void> {
  let latest = clock.now();
  for (let now = latest; latest.getTime() - now.getTime() <= STEP_BACK_MS; now = clock.now()) {
    if (now > latest) latest = now;
    await clock.sleepUntil(new Date(now.getTime() + LOOK_MS), signal);
  }
}

/**
 * The time for what cannot be taken back: that of the wall clock, except for what it leapt ahead since this was called.
 * After a machine was suspended it is behind, until the process starts again. `monotonic` gives milliseconds that only
 * grow.
 */
export function cautiousTime(clock: Pick<Clock, 'now'>, monotonic = () => performance.now()): () => Date {
  const [wall, passed] = [clock.now().getTime(), monotonic()];
  return () => earlier(clock.now(), new Date(Math.round(wall + monotonic() - passed)));
}

/** Whether `at` is less than `seconds` ago. An instant to come is not: the clock was set back since it was noted. */
export function isRecent(at: Date, seconds: number, now: Date): boolean {
  const agoMs = now.getTime() - at.getTime();
  return agoMs >= 0 && agoMs < seconds * 1000;
}

/** The earlier of a noted instant and now: a noted instant may be in the future if the clock was set back. */
export const earlier = (noted: Date, now: Date): Date => (noted < now ? noted : now);

/** Whole seconds since 1970, as messages have them. */
export const unixSeconds = (time: Date): bigint => BigInt(Math.floor(time.getTime() / 1000));

/** A new instant; `seconds` may be negative or a fraction. */
export const addSeconds = (time: Date, seconds: number): Date => new Date(time.getTime() + seconds * 1000);

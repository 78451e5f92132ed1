/** Waiting for AWS's SDK, which may wait for ever: for a metadata answer that is cut short, for one. */
import type { AwsCredentials } from './sign.ts';

type Provider<C> = () => Promise<C>;

const LIMIT_MS = 10_000;

/**
 * The provider of `make`, with at most ten seconds for each call. One that fails is made anew at the next call: the
 * SDK's provider would share an answer that never comes with later callers. Throws what the SDK throws, the signal's
 * reason or a TimeoutError.
 */
export function boundedProvider<C extends AwsCredentials>(
  make: () => Promise<Provider<C>>,
): (signal?: AbortSignal) => Promise<C> {
  let provider: Promise<Provider<C>> | undefined;
  return async (signal) => {
    const limit = AbortSignal.timeout(LIMIT_MS);
    const end = signal === undefined ? limit : AbortSignal.any([signal, limit]);
    end.throwIfAborted();
    provider ??= make();
    try {
      return await until(
        end,
        provider.then((ask) => askUnless(end, ask)),
      );
    } catch (error) {
      provider = undefined;
      throw error;
    }
  };
}

/** Asks only if the caller still waits after the SDK was loaded. */
function askUnless<C>(end: AbortSignal, ask: Provider<C>): Promise<C> {
  end.throwIfAborted();
  return ask();
}

async function until<T>(end: AbortSignal, promise: Promise<T>): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(end.reason);
  end.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    end.removeEventListener('abort', abort);
  }
}

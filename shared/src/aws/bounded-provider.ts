/** Waiting for AWS's SDK, which may wait for ever: for a metadata answer that is cut short, for one. */
import type { AwsCredentials } from './sign.ts';

type Provider = () => Promise<AwsCredentials>;

const LIMIT_MS = 10_000;

/**
 * What `make` gives, asked for ten seconds at most. One that fails is made anew at the next call: the SDK's would
 * share an answer that never comes with whoever asks later. Throws what the SDK throws, the signal's reason or a
 * TimeoutError.
 */
export function boundedProvider(
  make: () => Promise<Provider>,
): (signal?: AbortSignal) => Promise<AwsCredentials> {
  let provider: Promise<Provider> | undefined;
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

/** Whoever has stopped waiting while the SDK was loaded asks for nothing. */
function askUnless(end: AbortSignal, ask: Provider): Promise<AwsCredentials> {
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

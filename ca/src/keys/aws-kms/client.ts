/** AWS's own client for KMS: loaded only where the config has `keys.aws-kms`, and bounded in time, tries and number. */
import type * as sdk from '@aws-sdk/client-kms';
import { boundedProvider } from '@chancery/shared/aws/bounded-provider.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { Turns } from '@chancery/shared/ground/turns.ts';
import { kmsRefusal } from './refusals.ts';

export interface KmsAt {
  readonly region: string;
  /** Instead of the region's host: https, or http on loopback. */
  readonly endpoint?: string | undefined;
  /** For tests; 10 s. */
  readonly answerMs?: number;
}

/** Of one request, with the client's own growing pauses in between: for throttling, 5xx and lost connections. */
const TRIES = 4;
/** What has no answer by then is given up, tries and waiting for a turn included. */
const ANSWER_MS = 10_000;
const TRY_MS = 4000;
const CONNECT_MS = 2000;
const LATE_MS = 120_000;
/** KMS takes about 10 ms: more at once would only use up the quota of requests sooner. */
const AT_ONCE = 16;

export interface Question<T> {
  /** The IAM action, such as kms:Sign. */
  readonly action: string;
  /** The key's ARN, id or alias. */
  readonly key?: string;
  /**
   * For what makes something: it is not tried again, since that could make a second one, and is not given up with its
   * answer, which this takes if it comes within two minutes.
   */
  readonly late?: (made: T) => void;
  /** Sends one command. */
  ask(client: sdk.KMSClient, api: typeof sdk, options: { readonly abortSignal: AbortSignal }): Promise<T>;
}

export interface Kms {
  readonly region: string;
  /** Throws key_missing, key_wrong, key_refused, key_unreachable. */
  ask<T>(question: Question<T>): Promise<T>;
  /** Ends its connections. */
  close(): void;
}

/** Asks nothing yet. Credentials are those that AWS's own search finds, by the first request. */
export async function openKms({ region, endpoint, answerMs = ANSWER_MS }: KmsAt): Promise<Kms> {
  const api = await import('@aws-sdk/client-kms');
  const { KMSClient } = api;
  const credentials = ownCredentials();
  const clientOf = (maxAttempts: number, requestTimeout: number): sdk.KMSClient =>
    new KMSClient({
      region,
      credentials: () => credentials(),
      maxAttempts,
      retryMode: 'standard',
      requestHandler: { connectionTimeout: CONNECT_MS, requestTimeout, throwOnRequestTimeout: true },
      ...(endpoint === undefined ? {} : { endpoint }),
    });
  const [client, once] = [clientOf(TRIES, TRY_MS), clientOf(1, LATE_MS)];
  const turns = new Turns(AT_ONCE);
  return {
    region,
    async ask(question) {
      const { action, key } = question;
      const end = AbortSignal.timeout(answerMs);
      try {
        // Those before end in their own time, so a turn comes before it is too late.
        return await turns.run(() =>
          question.late === undefined
            ? question.ask(client, api, { abortSignal: end })
            : answeredBy(
                end,
                question.ask(once, api, { abortSignal: AbortSignal.timeout(LATE_MS) }),
                question.late,
              ),
        );
      } catch (error) {
        const says = `AWS KMS in ${region} has not answered ${action} for ${answerMs / 1000} s: try again`;
        if (end.aborted) throw new IdentityError('key_unreachable', says, { cause: error });
        throw kmsRefusal(error, key === undefined ? { action, region } : { action, region, key });
      }
    },
    close() {
      for (const each of [client, once]) each.destroy();
    },
  };
}

/** Resolves as `asked`. Rejects with the reason of `end`; what comes after that is given to `late`. */
async function answeredBy<T>(end: AbortSignal, asked: Promise<T>, late: (made: T) => void): Promise<T> {
  const ended = Promise.withResolvers<never>();
  const giveUp = (): void => ended.reject(end.reason);
  end.addEventListener('abort', giveUp, { once: true });
  try {
    return await Promise.race([asked, ended.promise]);
  } catch (error) {
    asked.then(late, () => {});
    throw error;
  } finally {
    end.removeEventListener('abort', giveUp);
  }
}

/** The client would search by itself, and share an answer that never comes with later requests. */
const ownCredentials = () =>
  boundedProvider(async () => {
    const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
    return defaultProvider({ ec2MetadataV1Disabled: true });
  });

/**
 * Posts checkpoints to somebody who keeps them: what they cover cannot be rewritten by the CA's machine. A loop of its
 * own, so that neither the log nor the end of the CA waits for an address that hangs.
 */
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Outbound } from '@chancery/shared/outbound/http.ts';
import type { LogStore } from '../../store/log-store.ts';

export interface WebhookDeps {
  readonly url: string;
  /** PEM, in place of the system's roots. */
  readonly ca?: Uint8Array;
  readonly everySeconds: number;
  readonly store: Pick<LogStore, 'checkpoint'>;
  readonly outbound: Outbound;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Webhook {
  /** True from a post that failed until one succeeds. */
  readonly isFailing: () => boolean;
  /** For how many seconds a checkpoint has waited to be posted; 0 if none waits. */
  readonly uncopiedSeconds: () => number;
  /** Ends a post under way. */
  close(): Promise<void>;
}

/** How often it looks for a checkpoint that was not posted. */
const LOOK_SECONDS = 1;
/** After the first failure; each further one doubles it. */
const RETRY_SECONDS = 5;
const MAX_RETRY_SECONDS = 300;
/** Only the status counts. */
const MAX_ANSWER_BYTES = 64 * 1024;

/**
 * Posts the newest checkpoint as it is signed (`text/plain`, C2SP signed note), the first at once, then at most one in
 * the given time. Any status of 2xx takes it; a redirect is not followed. Logs once what fails, and tries again.
 */
export function startWebhook(deps: WebhookDeps): Webhook {
  const { clock } = deps;
  const stop = new AbortController();
  const state: State = { failures: 0 };
  const work = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const pause = await step(deps, state, stop.signal);
      await clock.sleepUntil(addSeconds(clock.now(), pause), stop.signal).catch(() => {});
    }
  };
  const working = work();
  return {
    isFailing: () => state.says !== undefined,
    uncopiedSeconds: () => {
      const { since } = state;
      return since === undefined ? 0 : Math.max(0, (clock.now().getTime() - since.getTime()) / 1000);
    },
    close: () => {
      stop.abort();
      return working;
    },
  };
}

interface State {
  posted?: { readonly size: number; readonly at: Date };
  /** Since when a checkpoint waits. */
  since?: Date | undefined;
  says?: string | undefined;
  failures: number;
}

/** Gives the seconds until the next step. */
async function step(deps: WebhookDeps, state: State, signal: AbortSignal): Promise<number> {
  const { url, everySeconds, store, clock, log } = deps;
  const now = clock.now();
  try {
    const newest = await store.checkpoint();
    if (newest === undefined || newest.size === state.posted?.size) return LOOK_SECONDS;
    state.since ??= now;
    const waits =
      state.posted === undefined ? 0 : everySeconds - (now.getTime() - state.posted.at.getTime()) / 1000;
    // Beyond a whole wait the clock was set back.
    if (waits > 0 && waits <= everySeconds) return LOOK_SECONDS;
    await post(deps, newest.note, signal);
    if (state.says !== undefined) log.info({ url }, 'checkpoints are posted again');
    state.posted = { size: newest.size, at: now };
    state.since = undefined;
    state.says = undefined;
    state.failures = 0;
    return LOOK_SECONDS;
  } catch (error) {
    if (signal.aborted) return 0;
    const says = error instanceof Error ? error.message : String(error);
    if (says !== state.says)
      log.error({ err: error, url }, 'a checkpoint could not be posted; it is tried again');
    state.says = says;
    const pause = Math.min(MAX_RETRY_SECONDS, RETRY_SECONDS * 2 ** state.failures);
    state.failures = Math.min(state.failures + 1, 16);
    return pause;
  }
}

/** Throws platform_unavailable. */
async function post({ url, ca, outbound }: WebhookDeps, note: string, signal: AbortSignal): Promise<void> {
  const reply = await outbound.request({
    ...{ url, method: 'POST', body: note, maxBytes: MAX_ANSWER_BYTES, signal },
    headers: {
      'content-type': 'text/plain; charset=utf-8',
      'content-length': String(Buffer.byteLength(note)),
    },
    ...(ca === undefined ? {} : { ca }),
  });
  const says = `${url}: HTTP ${reply.status}, and a status of 200 to 299 is expected`;
  ensure(reply.status >= 200 && reply.status < 300, 'platform_unavailable', says);
}

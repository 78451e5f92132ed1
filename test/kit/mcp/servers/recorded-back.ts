/** The way back to a client, which remembers what came on it. */
import type { Back } from '@chancery/agent/mcp/upstream/upstream.ts';
import type { Message } from '@chancery/shared/mcp/message.ts';

export interface RecordedBack extends Back {
  /** In the order in which they came; of a failure its message. */
  readonly said: unknown[];
  /** Messages that came as events or as the answer. */
  readonly messages: (Message | undefined)[];
  /** The most bytes that were held of what was not whole, and what is held now. */
  readonly held: { most: number; now: number };
  answered: boolean;
  isCancelled: boolean;
  /** Whether the client takes more, and what tells that it does again. */
  takes: boolean;
  resume: (() => void) | undefined;
  /** Resolves with all that was said, once there is an answer, an end or a failure. */
  readonly over: Promise<readonly unknown[]>;
}

export function recordedBack(): RecordedBack {
  const said: unknown[] = [];
  const messages: (Message | undefined)[] = [];
  const over = Promise.withResolvers<readonly unknown[]>();
  const say = (...words: readonly unknown[]): void => void said.push(words);
  const finish = (...words: readonly unknown[]): void => {
    say(...words);
    over.resolve(said);
  };
  const back: RecordedBack = {
    said,
    messages,
    held: { most: 0, now: 0 },
    answered: false,
    isCancelled: false,
    takes: true,
    resume: undefined,
    over: over.promise,
    session: (name) => say('session', name),
    answer(status, message) {
      if (message !== undefined) messages.push(message);
      finish('answer', status);
    },
    open: () => say('open'),
    event({ id, retry }, message) {
      messages.push(message);
      say('event', id, retry);
      return back.takes;
    },
    keepAlive: () => say('keepAlive'),
    end: () => finish('end'),
    sent: () => say('sent'),
    onLost: () => {},
    fail: ({ message }) => finish('fail', message),
    holding(bytes) {
      back.held.now = bytes;
      back.held.most = Math.max(back.held.most, bytes);
    },
    cancelled: () => finish('cancelled'),
    onDrain(listener) {
      back.resume = listener;
    },
    onClose: () => {},
  };
  return back;
}

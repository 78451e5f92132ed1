/** A condition on the time, for what ends by itself. */
import type { When } from './when.ts';

/** Holds before the instant, RFC 3339, where the other condition does, too. */
export function before(until: string, when: When | undefined): When {
  const end = new Date(until);
  const text = `now < ${until}`;
  return {
    text: when === undefined ? text : `${text} && (${when.text})`,
    reads: new Set([...(when?.reads ?? []), 'now'] as const),
    answer: (call) => {
      if (call.now === undefined) return 'cannot be decided: now is not known';
      return call.now < end && (when?.answer(call) ?? true);
    },
  };
}

/** Work for thousands of streams in slices, between which the event loop does what is more urgent. */

/** About a millisecond of small messages. */
const SLICE = 16;

/** The returned function runs what it is given soon and in order: a slice in each turn of the event loop. */
export function inSlices(): (work: () => void) => void {
  const waiting: (() => void)[] = [];
  let at = 0;
  const run = (): void => {
    const end = Math.min(at + SLICE, waiting.length);
    while (at < end) waiting[at++]?.();
    if (at < waiting.length) {
      setImmediate(run);
      return;
    }
    waiting.length = 0;
    at = 0;
  };
  return (work) => {
    waiting.push(work);
    if (waiting.length === 1) setImmediate(run);
  };
}

/**
 * Bounds the work of one evaluation. What a condition reads comes from a caller, and a gateway does nothing else while
 * it evaluates one.
 */

/** Some ten milliseconds. A step is one call of a function, one look into a map, or 16 characters of text. */
export const MAX_STEPS = 100_000;

/** Of the evaluation that runs now: it is synchronous, and none runs inside another. */
let left = 0;

/**
 * Evaluates with all steps left. An error, such as that of a field that is not there, is a usual result and has no
 * stack: to collect one takes longer than to evaluate.
 */
export function withinSteps<T>(evaluate: () => T): T {
  left = MAX_STEPS;
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return evaluate();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** Throws if no steps are left. */
export function spend(steps: number): void {
  left -= steps;
  if (left < 0) throw new Error(`it takes more than ${MAX_STEPS} steps`);
}

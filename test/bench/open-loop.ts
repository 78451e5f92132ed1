/** Calls by the clock, and where the time of a late answer went. */
import { setTimeout as sleep } from 'node:timers/promises';
import { quantile, schedulingOf } from './measure.ts';

export type Call = (n: number) => Promise<void>;

/** Milliseconds; in each list the order is that of the answers. */
export interface OpenLoop {
  /** From the moment by the clock until the answer: no slow answer hides behind a slow question. */
  readonly latencies: readonly number[];
  /** From the moment by the clock until the call left: the load generator was late by so much, not the CA. */
  readonly late: readonly number[];
  /** Of the time in which threads of the CA could have run: how much they waited for a core, from 0 to 1. */
  readonly waitedForCore: number;
}

/** Calls leave by the clock, whether the last has come back or not. `pid` is the process that answers. */
export async function openLoop(call: Call, perSecond: number, ms: number, pid: number): Promise<OpenLoop> {
  const latencies: number[] = [];
  const late: number[] = [];
  const pending = new Set<Promise<void>>();
  const before = schedulingOf(pid);
  const start = performance.now();
  let sent = 0;
  while (performance.now() - start < ms) {
    const due = Math.floor(((performance.now() - start) / 1000) * perSecond);
    for (; sent < due; sent += 1) {
      const planned = start + (sent / perSecond) * 1000;
      const left = performance.now();
      const one = call(sent).then(() => {
        latencies.push(performance.now() - planned);
        late.push(left - planned);
        pending.delete(one);
      });
      pending.add(one);
    }
    // Not a busy loop: the other core is the CA's, and the collectors of both need some of this one.
    await sleep(1);
  }
  await Promise.all(pending);
  const after = schedulingOf(pid);
  const [ran, waited] = [after.ranMs - before.ranMs, after.waitedMs - before.waitedMs];
  return { latencies, late, waitedForCore: waited / (ran + waited) };
}

/** The p99 of the answers, and what of it is this machine's: the generator's lateness, and the wait for a core. */
export function p99Of({ latencies, late, waitedForCore }: OpenLoop): string {
  const ms = (values: readonly number[]): string => `${quantile(values, 0.99).toFixed(2)} ms`;
  const share = `${(waitedForCore * 100).toFixed(0)}%`;
  return `${ms(latencies)}; calls left late by ${ms(late)}; the CA waited for a core ${share} of its time`;
}

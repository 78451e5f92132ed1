/** What the kernel says about a process, and order statistics. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** User and system time so far; proc_pid_stat(5), fields 14 and 15. Its grain is a tick, 10 ms. */
export function cpuMicrosOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1e6;
}

/** What all threads of a process together ran, and waited for a core while they could have run, so far. */
export function schedulingOf(pid: number): { readonly ranMs: number; readonly waitedMs: number } {
  let [ran, waited] = [0, 0];
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const [onCore, inQueue] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ');
    ran += Number(onCore);
    waited += Number(inQueue);
  }
  return { ranMs: ran / 1e6, waitedMs: waited / 1e6 };
}

/** Resident memory, in millions of bytes. */
export function rssMbOf(pid: number): number {
  const [, kilobytes = 'NaN'] =
    /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
  return (Number(kilobytes) * 1024) / 1e6;
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

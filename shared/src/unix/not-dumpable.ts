/**
 * Hides the memory and environment of this process from other processes of its user: no ptrace, no core file, and
 * `/proc/PID/environ`, `mem` and `fd` belong to root (prctl(2), PR_SET_DUMPABLE; proc(5)). Linux with glibc.
 */
import { openLibc } from './libc.ts';

const PR_SET_DUMPABLE = 4;

/** False if the system does not support it; then other processes of the same user can read this one. */
export function makeNotDumpable(): boolean {
  try {
    const prctl = openLibc().func('int prctl(int, ulong, ulong, ulong, ulong)');
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) === 0;
  } catch {
    return false;
  }
}

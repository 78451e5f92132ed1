/**
 * Signals a process through a pidfd, so that the signal reaches the process that was checked and never a later one with
 * the same pid.
 */
import { closeSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { ensure, IdentityError, refusalOf } from '../ground/errors.ts';
import { openLibc } from './libc.ts';

export interface HeldProcess {
  readonly pid: number;
  /** The real and the effective uid. */
  readonly uids: readonly [number, number];
  /** proc_pid_comm(5): the name of the program, at most 15 bytes of it. */
  readonly name: string;
}

export type SignalProcess = (
  pid: number,
  signal: NodeJS.Signals,
  check: (found: HeldProcess) => void,
) => void;

// The same numbers on every architecture of Linux since 5.3.
const SYS_PIDFD_SEND_SIGNAL = 424;
const SYS_PIDFD_OPEN = 434;

/**
 * Signals a process after `check` has looked at it. Throws unavailable if there is no such process, it has ended
 * meanwhile, or the kernel does not allow it; and what `check` throws.
 */
export const signalProcess: SignalProcess = (pid, signal, check) => {
  const pidfd = syscall(`process ${pid} cannot be opened`, [SYS_PIDFD_OPEN, pid, 0, 0, 0]);
  try {
    // Read after the pidfd is open. If another process has the pid by now, the signal goes to no process.
    check(processAt(pid));
    const number = os.constants.signals[signal];
    syscall(`process ${pid} cannot be signalled`, [SYS_PIDFD_SEND_SIGNAL, pidfd, number, 0, 0]);
  } finally {
    closeSync(pidfd);
  }
};

function processAt(pid: number): HeldProcess {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const uids = /^Uid:\t(\d+)\t(\d+)\t/m.exec(status);
    ensure(uids !== null, 'unavailable', `process ${pid} has no uid`);
    const name = readFileSync(`/proc/${pid}/comm`, 'latin1').replace(/\n$/, '');
    return { pid, uids: [Number(uids[1]), Number(uids[2])], name };
  } catch (error) {
    throw refusalOf(error, 'unavailable', `process ${pid} has ended`);
  }
}

type Arguments = readonly [number, number, number, number, number];

interface Libc {
  syscall(...values: Arguments): number;
  errno(): number;
}

let loaded: Libc | undefined;

/** Returns the result of the system call. Throws unavailable with the name of the kernel's error. */
function syscall(what: string, values: Arguments): number {
  loaded ??= loadLibc();
  const answer = loaded.syscall(...values);
  if (answer >= 0) return answer;
  const errno = loaded.errno();
  const name =
    Object.entries(os.constants.errno).find(([, number]) => number === errno)?.[0] ?? String(errno);
  throw new IdentityError('unavailable', `${what}: ${name}`);
}

/** Loaded at the first call: most agents never send a signal. */
function loadLibc(): Libc {
  try {
    const { func, errno } = openLibc();
    return { syscall: func('long syscall(long, long, long, long, long)'), errno };
  } catch (error) {
    throw new IdentityError('unavailable', 'signals need glibc on Linux 5.3 or newer', { cause: error });
  }
}

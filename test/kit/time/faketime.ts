/** A clock that a test moves in real programs: libfaketime, as Debian has it. Wall clock and timers move together. */
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addSeconds } from '@chancery/shared/ground/clock.ts';

const MACHINE = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
/** The library that LD_PRELOAD names. */
export const FAKETIME = `/usr/lib/${MACHINE}-linux-gnu/faketime/libfaketime.so.1`;

/** Why tests that move the clock of programs are left out; undefined if everything is here. */
export const whyNoFaketime = (): string | undefined =>
  existsSync(FAKETIME) ? undefined : `${FAKETIME} is missing (Debian: faketime)`;

export interface MovedTime {
  /** The time of the programs. */
  now(): Date;
  /** For programs that run (within two seconds), and those that start from now on. */
  pass(seconds: number): void;
  /** Programs that this process starts have its own time again. */
  end(): void;
}

/** All programs that this process starts from now on have this time. It is in a file of the folder. */
export function moveTime(dir: string): MovedTime {
  const file = join(dir, 'faketime');
  const before = process.env['LD_PRELOAD'];
  let ahead = 0;
  const pass = (seconds: number): void => {
    ahead += seconds;
    writeFileSync(`${file}.new`, `+${ahead}\n`);
    renameSync(`${file}.new`, file);
  };
  pass(0);
  // A program looks into the file every two seconds, not at each look at its clock: libfaketime 0.9.10 reads it without
  // a lock, two threads that do so at once see half an offset, and Node ends where its monotonic clock goes back.
  // Its own changes of the times of files would make those that a program reads differ from those that it wrote.
  Object.assign(process.env, {
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_CACHE_DURATION: '1',
    NO_FAKE_STAT: '1',
  });
  process.env['LD_PRELOAD'] = FAKETIME;
  return {
    now: () => addSeconds(new Date(), ahead),
    pass,
    end: () => {
      if (before === undefined) delete process.env['LD_PRELOAD'];
      else process.env['LD_PRELOAD'] = before;
    },
  };
}

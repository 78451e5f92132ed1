/** A progress bar of something that is read or written. */
import type { Io } from '@chancery/shared/cli/program.ts';

const WIDTH = 30;

/** On a terminal; nothing elsewhere. */
export class Bar {
  readonly #io: Pick<Io, 'progress'> | undefined;
  #shown = '';

  constructor(io: Pick<Io, 'progress'> | undefined) {
    this.#io = io;
  }

  /** Draws it again where that shows something else. */
  show(what: string, done: number, of: number): void {
    const part = of === 0 ? 1 : Math.min(done / of, 1);
    const full = Math.floor(part * WIDTH);
    const line = `[${'#'.repeat(full)}${'.'.repeat(WIDTH - full)}] ${Math.floor(part * 100)} % of ${what}`;
    if (line === this.#shown) return;
    this.#shown = line;
    this.#io?.progress?.(line);
  }

  /** Removes it. */
  clear(): void {
    if (this.#shown !== '') this.#io?.progress?.('');
  }
}

/** Runs one call that says nothing on its way; from its second second on, a terminal shows how long it has taken. */
export async function waitedFor<T>(
  io: Pick<Io, 'progress'>,
  what: string,
  call: () => Promise<T>,
): Promise<T> {
  let seconds = 0;
  const timer = setInterval(() => {
    seconds += 1;
    io.progress?.(`${what}: ${seconds} s`);
  }, 1_000);
  try {
    return await call();
  } finally {
    clearInterval(timer);
    if (seconds > 0) io.progress?.('');
  }
}

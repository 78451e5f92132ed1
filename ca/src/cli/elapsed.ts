/** On a terminal, a command that says nothing for a second shows how long it has taken. */
import type { Command, Io } from '@chancery/shared/cli/program.ts';

/** The command, which shows that until it prints something or shows how far it is, and removes it at its end. */
export const withElapsed = (name: string, command: Command): Command => ({
  ...command,
  async run(invocation, io) {
    const quiet = new Quiet(name, io);
    try {
      return await command.run(invocation, quiet.io);
    } finally {
      quiet.over();
    }
  },
});

class Quiet {
  /** As the given one: its first word ends the quiet. */
  readonly io: Io;
  readonly #io: Io;
  readonly #timer: NodeJS.Timeout | undefined;
  #seconds = 0;
  #isOver = false;

  constructor(name: string, io: Io) {
    this.#io = io;
    const { progress } = io;
    if (progress === undefined) {
      this.io = io;
      return;
    }
    this.#timer = setInterval(() => {
      this.#seconds += 1;
      progress(`${name}: ${this.#seconds} s`);
    }, 1_000);
    const first =
      <A extends unknown[], R>(say: (...words: A) => R) =>
      (...words: A): R => {
        this.over();
        return say(...words);
      };
    this.io = {
      ...io,
      out: first((text) => io.out(text)),
      err: first((text) => io.err(text)),
      input: first((maxBytes) => io.input(maxBytes)),
      progress: first((line) => progress(line)),
      ...(io.serves && { serves: first((onHangup) => io.serves?.(onHangup)) }),
    };
  }

  over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#timer);
    if (this.#seconds > 0) this.#io.progress?.('');
  }
}

/** The process as a command line sees it; only the main files call it. */
import { Interrupted, type Io } from './cli.ts';

/** Aborts `signal` at the first SIGINT or SIGTERM; a second one ends the process at once. */
export function processIo(): Io {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    process.once(name, () => {
      stop.abort(new Interrupted(name));
    });
  // A reader that goes away (| head) ends us quietly, as every Unix tool does.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    env: process.env,
    signal: stop.signal,
    isTerminal: process.stderr.isTTY,
  };
}

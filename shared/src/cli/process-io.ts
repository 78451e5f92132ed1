/** The process as a command line sees it: its streams, its signals, and its end. */

import { utf8Text } from '../ground/bytes.ts';
import { IdentityError } from '../ground/errors.ts';
import { readWhole } from '../ground/read-whole.ts';
import { printableLines } from '../text/printable.ts';
import { ENDS, Interrupted, type Io } from './program.ts';

/** How long a server may take to close before the process ends without it. */
const CLOSE_MS = 5_000;

/** What one wish to end brings at most: a terminal and its shell, or npm and the terminal, each send a signal. */
const ONE_WISH_MS = 1_000;

/**
 * For the main files. Aborts `signal` at the first signal that asks for the end; one that comes more than a second
 * later ends the process at once, after the steps of `atEnd`. But for SIGHUP: a terminal that closes sends it again.
 */
export function processIo(): Io {
  const stop = new AbortController();
  let toldAt: number | undefined;
  const told = (name: keyof typeof ENDS): void => {
    const now = performance.now();
    if (toldAt === undefined) stop.abort(new Interrupted(name));
    else if (name !== 'SIGHUP' && now - toldAt > ONE_WISH_MS) process.exit(ENDS[name]);
    toldAt ??= now;
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGQUIT'] as const) process.on(name, told);
  const hungUp = (): void => told('SIGHUP');
  process.on('SIGHUP', hungUp);
  // Node's own answer to SIGUSR1 is to open its debugger, which runs whatever it is told with our rights.
  process.on('SIGUSR1', () => {});
  // A reader that goes away (| head) ends us quietly, as every Unix tool does.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  return {
    out: (text) => void process.stdout.write(printableLines(text)),
    err: (text) => void process.stderr.write(printableLines(text)),
    input: (maxBytes) => textOf(process.stdin, maxBytes),
    env: process.env,
    signal: stop.signal,
    isTerminal: process.stderr.isTTY,
    columns: process.stdout.columns,
    ...(process.stderr.isTTY ? { progress: showProgress } : {}),
    serves: (onHangup) => {
      process.off('SIGHUP', hungUp).on('SIGHUP', onHangup);
      // Does not keep the process alive if everything closes in time.
      const bound = (): void => void setTimeout(() => process.exit(0), CLOSE_MS).unref();
      if (stop.signal.aborted) bound();
      else stop.signal.addEventListener('abort', bound, { once: true });
    },
  };
}

/** Goes back to the beginning of the line and clears it. A line that wraps could not be cleared. */
function showProgress(line: string): void {
  const width = (process.stderr.columns ?? 80) - 1;
  process.stderr.write(`\r\u001b[K${printableLines(line).slice(0, width)}`);
}

const steps = new Set<() => void>();
const blocked = new Set<() => boolean>();
process.once('exit', () => {
  for (const step of [...steps].reverse()) {
    try {
      step();
    } catch {
      // The others still run. Nobody is left to be told.
    }
  }
  if (![...blocked].some((isBlocked) => isBlocked())) return;
  // By the default of the signal.
  process.removeAllListeners('SIGTERM');
  process.kill(process.pid, 'SIGTERM');
});

/**
 * Runs `step` before the process ends, by itself, by an error or by a signal that `processIo` hears; nothing runs at
 * SIGKILL. The newest step runs first, and none waits. Returns what takes it back.
 */
export function atEnd(step: () => void): () => void {
  steps.add(step);
  return () => void steps.delete(step);
}

/**
 * Where `isBlocked` says at the end that a call of the file system hangs, the process ends by SIGTERM: Node would wait
 * for the thread that it blocks, for ever if a mount's server does not come back.
 */
export const endThough = (isBlocked: () => boolean): void => void blocked.add(isBlocked);

/** How long what a finished command has left open may keep the process. */
const LINGER_MS = 500;

/**
 * Ends the process when a command is done and its output is written, whatever is still open: a TLS handshake that the
 * other side does not finish stays open when its gRPC channel is closed.
 */
export function endWith(status: number): void {
  process.exitCode = status;
  const unwritten = (): boolean => process.stdout.writableLength + process.stderr.writableLength > 0;
  const end = (): void => {
    if (unwritten()) linger();
    else process.exit(status);
  };
  // Does not keep the process alive: one that has nothing open ends at once.
  const linger = (): void => void setTimeout(end, LINGER_MS).unref();
  linger();
}

/** To its end. Throws file if it is longer, or not UTF-8. */
export async function textOf(stream: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  const tooLong = () => new IdentityError('file', `standard input has more than ${maxBytes} bytes`);
  return utf8Text(await readWhole(stream, maxBytes, tooLong), 'file', 'standard input');
}

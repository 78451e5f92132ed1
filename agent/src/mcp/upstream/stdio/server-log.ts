/** Logs a started server's standard error inside our own log lines: it can neither forge a line nor flood the log. */
import type { Readable } from 'node:stream';
import type { Log } from '@chancery/shared/ground/log.ts';
import { LineReader } from '../../wire/lines.ts';

const MAX_LINE_BYTES = 4 * 1024;
/** Lines per minute; more are counted. */
const MAX_LINES = 200;
const MINUTE_MS = 60_000;

/**
 * Reads `stderr` until it closes. Logs at most 200 lines per minute, and how many more there were. `nowMs` is a clock
 * that only advances.
 */
export function logOutputOf(stderr: Readable, log: Log, nowMs: () => number = () => performance.now()): void {
  let begun = nowMs();
  let lines = 0;
  const tellLeftOut = (): void => {
    if (lines > MAX_LINES) log.warn({ lines: lines - MAX_LINES }, 'left out output of the MCP server');
  };
  const write = (line: string): void => {
    if (nowMs() - begun >= MINUTE_MS) {
      tellLeftOut();
      begun = nowMs();
      lines = 0;
    }
    lines += 1;
    if (lines <= MAX_LINES) log.info({ line }, 'the MCP server wrote');
  };
  const reader = new LineReader(
    (line) => write(Buffer.from(line).toString('utf8').trimEnd()),
    MAX_LINE_BYTES,
    () => write(`(a line of more than ${MAX_LINE_BYTES} bytes)`),
  );
  stderr.on('data', (chunk: Buffer) => reader.push(chunk));
  stderr.on('close', () => {
    reader.push(Buffer.from('\n'));
    tellLeftOut();
  });
}

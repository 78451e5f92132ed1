/** The operational log: JSON lines on standard error. Decisions and their reasons are in the audit log. */
import { pino } from 'pino';
import { printableLines } from '../text/printable.ts';
import { isRefusal } from './errors.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface Log {
  /** For the search for a fault. */
  debug(fields: object, message: string): void;
  /** What happened as expected. */
  info(fields: object, message: string): void;
  /** What an operator should look at. */
  warn(fields: object, message: string): void;
  /** What does not work. */
  error(fields: object, message: string): void;
}

/** A name from outside can neither start a line, colour a terminal, reorder text nor hide in it. */
export function jsonLog(level: LogLevel, name: string): Log {
  const stderr = pino.destination({ dest: 2, sync: true });
  return pino(
    {
      level,
      base: { name },
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: errorFields },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    // JSON escapes C0 only; the line feed at the end is pino's.
    { write: (line: string) => void stderr.write(printableLines(line)) },
  );
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** A refusal is logged without a stack: it is an ordinary answer, and its message says what was expected and found. */
function errorFields(error: unknown): object {
  if (isRefusal(error)) return { code: error.code, detail: error.message, ...causeOf(error) };
  return error instanceof Error ? { message: error.message, stack: error.stack } : { message: String(error) };
}

function causeOf(error: Error): object {
  return error.cause instanceof Error ? { cause: error.cause.message } : {};
}

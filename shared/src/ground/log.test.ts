import { pino } from 'pino';
import { afterAll, expect, test, vi } from 'vitest';
import { IdentityError } from './errors.ts';
import { jsonLog, type LogLevel, silentLog } from './log.ts';

const lines: string[] = [];
vi.spyOn(pino, 'destination').mockReturnValue({ write: (line: string) => lines.push(line) } as never);
afterAll(() => vi.restoreAllMocks());

/** What one line says, besides its time. */
function logged(level: LogLevel, fields: object, message: string): Record<string, unknown> | undefined {
  lines.length = 0;
  jsonLog('debug', 'chancery-ca')[level](fields, message);
  expect(lines).toHaveLength(1);
  const { time, ...rest } = JSON.parse(lines[0] ?? '');
  expect(new Date(time).getTime()).toBeGreaterThan(Date.now() - 60_000);
  return rest;
}

test.each(['debug', 'info', 'warn', 'error'] as const)('a line of level %s', (level) => {
  expect(logged(level, { port: 1 }, 'serving')).toEqual({
    level,
    name: 'chancery-ca',
    port: 1,
    msg: 'serving',
  });
});

test('what is less severe than asked for is left out', () => {
  lines.length = 0;
  const log = jsonLog('warn', 'x');
  log.debug({}, 'a');
  log.info({}, 'b');
  log.warn({}, 'c');
  expect(lines.map((line) => JSON.parse(line).msg)).toEqual(['c']);
});

test('a refusal has its code, its detail and its cause, and no stack', () => {
  const err = new IdentityError('store', 'disk full', { cause: new Error('SQLITE_FULL') });
  expect(logged('error', { err }, 'no')?.['err']).toEqual({
    code: 'store',
    detail: 'disk full',
    cause: 'SQLITE_FULL',
  });
  expect(logged('error', { err: new IdentityError('svid', 'no') }, 'no')?.['err']).toEqual({
    code: 'svid',
    detail: 'no',
  });
});

test('a bug is logged with its stack, and a thrown value that is not an Error as text', () => {
  const err = new TypeError('undefined is not a function');
  expect(logged('error', { err }, 'no')?.['err']).toEqual({ message: err.message, stack: err.stack });
  expect(logged('error', { err: 7 }, 'no')?.['err']).toEqual({ message: '7' });
});

test('a name from outside cannot start a line', () => {
  lines.length = 0;
  jsonLog('info', 'x').info({ platform: 'a\n{"level":"info"}\u001b[31m' }, 'no');
  expect([...(lines[0] ?? '').trimEnd()].every((character) => character >= ' ')).toBe(true);
});

test('a silent log says nothing', () => {
  lines.length = 0;
  for (const level of ['debug', 'info', 'warn', 'error'] as const) silentLog[level]({}, 'no');
  expect(lines).toEqual([]);
});

import { silentLog } from '@chancery/shared/ground/log.ts';
import { expect, test } from 'vitest';
import { skippedLog } from './skipped.ts';

test('skipped output is logged as a warning once for each server, then at debug level', () => {
  const logged: unknown[] = [];
  const log = {
    ...silentLog,
    warn: (...line: unknown[]) => void logged.push(['warn', ...line]),
    debug: (...line: unknown[]) => void logged.push(['debug', ...line]),
  };
  const [one, two] = ['one', 'two'].map((whose) => skippedLog(log, whose));
  one?.('a');
  one?.('b');
  two?.('c');
  const says = (whose: string) => `skipped output of ${whose}; more of it is logged at debug level only`;
  expect(logged).toEqual([
    ['warn', { what: 'a' }, says('one')],
    ['debug', { what: 'b' }, says('one')],
    ['warn', { what: 'c' }, says('two')],
  ]);
});

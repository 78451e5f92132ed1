import { expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { parseDuration } from './duration.ts';

test.each([
  ['20s', 20],
  ['15m', 900],
  ['1h', 3600],
  ['7d', 604_800],
  ['999999d', 86_399_913_600],
])('%s is %i seconds', (text, seconds) => {
  expect(parseDuration(text)).toBe(seconds);
});

test.each([
  '',
  '0s',
  '01s',
  '1',
  's',
  '-1s',
  '+1s',
  '1.5h',
  '1 h',
  ' 1h',
  '1h ',
  '1h\n',
  '1h30m',
  '1H',
  '1w',
  '1ms',
  '1000000s',
  '1e3s',
  '１s',
  'toString',
  '1toString',
])('%j is refused', (text) => {
  expect(() => parseDuration(text)).toThrow(
    refusal('config', /is not a length of time such as 20s, 15m, 1h or 7d$/),
  );
});

import { expect, test } from 'vitest';
import { compileLevel, levelsFrom, whyNoLevel } from './level.ts';

test('a level is matched by itself and those that are more severe', () => {
  const { matches } = compileLevel('warning');
  const given = ['debug', 'info', 'notice', 'warning', 'error', 'emergency', 'loud'];
  expect(given.filter(matches)).toEqual(['warning', 'error', 'emergency']);
  expect(() => compileLevel('loud')).toThrow(/not a level of log messages/);
});

test('levels from one on, the least severe first', () => {
  expect(levelsFrom('alert')).toEqual(['alert', 'emergency']);
  expect([levelsFrom('loud'), whyNoLevel('info')]).toEqual([[], undefined]);
  expect(whyNoLevel('loud')).toMatch(/no level of this name/);
});

import { describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { divide, openFilesLimit } from './descriptors.ts';

test.each([
  [
    'a number',
    'Limit  Soft  Hard  Units\nMax open files            1024                 4096                 files\n',
    1024,
  ],
  [
    'no limit',
    'Max open files            unlimited            unlimited            files\n',
    Number.POSITIVE_INFINITY,
  ],
  ['another format', 'nothing of the kind', 4096],
])('the limit of open files is read from the kernel: %s', (_, text, limit) => {
  expect(openFilesLimit(() => text)).toBe(limit);
});

test('where the kernel does not say, a common number is taken', () => {
  const missing = () => {
    throw new Error('ENOENT');
  };
  expect(openFilesLimit(missing)).toBe(4096);
});

describe('descriptors are divided among ports', () => {
  const ports = {
    many: { wanted: 1000, each: 1, part: 0.7 },
    few: { wanted: 30, each: 3, part: 0.3 },
  };

  test('as they want, where there are enough', () => {
    expect(divide(1190, 100, ports)).toEqual({ many: 1000, few: 30 });
  });

  test('by their parts where there are not, and never more than they want', () => {
    expect(divide(300, 100, ports)).toEqual({ many: 140, few: 20 });
    expect(divide(1189, 100, ports)).toEqual({ many: 762, few: 30 });
  });

  test('or not at all', () => {
    expect(() => divide(227, 100, ports)).toThrow(
      refusal('config', /^only 227 open files are allowed, at least 228 are needed: raise/),
    );
  });

  test('few that want little are served by little', () => {
    expect(divide(110, 100, { few: { wanted: 10, each: 1, part: 1 } })).toEqual({ few: 10 });
  });
});

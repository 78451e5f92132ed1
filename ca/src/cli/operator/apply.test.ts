import type { Invocation, Io } from '@chancery/shared/cli/program.ts';
import { afterEach, expect, test, vi } from 'vitest';
import { apply } from './apply.ts';

const { answer } = vi.hoisted(() => ({ answer: Promise.withResolvers<readonly object[]>() }));
vi.mock('./admin.ts', () => ({ streamToOperator: () => answer.promise }));
afterEach(() => void vi.useRealTimers());

test('while the CA reads a large set a terminal shows for how long', async () => {
  vi.useFakeTimers();
  const shown: string[] = [];
  const io = {
    ...{ out: () => {}, err: () => {}, input: async () => 'x'.repeat(3_000_000), isTerminal: true },
    progress: (line: string) => void shown.push(line),
  };
  const invocation = { positionals: [], has: () => false, text: () => undefined, texts: () => ['-'] };
  const applying = apply.run(invocation as unknown as Invocation, io as unknown as Io);
  await vi.advanceTimersByTimeAsync(2_500);
  answer.resolve([{ changes: [], version: 1n, warnings: [], losses: [], digest: '' }]);
  await applying;
  expect(shown).toEqual([
    'the CA reads 3.0 MB of resources: 1 s',
    'the CA reads 3.0 MB of resources: 2 s',
    '',
  ]);
});

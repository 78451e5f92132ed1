/** What a terminal shows while a command says nothing. */
import type { Command, Invocation, Io } from '@chancery/shared/cli/program.ts';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { withElapsed } from './elapsed.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

let shown: string[];
const io = (isTerminal = true): Io => ({
  out: (text) => void shown.push(`out ${text}`),
  err: (text) => void shown.push(`err ${text}`),
  input: async () => '',
  env: {},
  signal: new AbortController().signal,
  isTerminal,
  ...(isTerminal && { progress: (line: string) => void shown.push(line) }),
});
beforeEach(() => {
  shown = [];
});

/** Says something after 2.5 s, and ends at 5 s. */
async function run(say: (io: Io) => unknown, isTerminal = true): Promise<void> {
  const command: Command = {
    says: '',
    flags: {},
    run: async (_, given) => {
      await new Promise((resolve) => setTimeout(resolve, 2_500));
      say(given);
      await new Promise((resolve) => setTimeout(resolve, 2_500));
      return 0;
    },
  };
  const running = withElapsed('revoke', command).run({} as Invocation, io(isTerminal));
  await vi.advanceTimersByTimeAsync(5_000);
  await running;
}

test.each<[string, (io: Io) => unknown, readonly string[]]>([
  ['until it prints', ({ out }) => out('done'), ['', 'out done']],
  ['until it warns', ({ err }) => err('warning'), ['', 'err warning']],
  ['until it shows itself how far it is', ({ progress }) => progress?.('[##]'), ['', '[##]']],
  ['until it reads what somebody types', ({ input }) => input(1), ['']],
  ['until its end', () => {}, ['revoke: 3 s', 'revoke: 4 s', '']],
])('the seconds of a command %s', async (_, say, after) => {
  await run(say);
  expect(shown).toEqual(['revoke: 1 s', 'revoke: 2 s', ...after]);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(shown.length).toBe(2 + after.length);
});

test('nothing where no terminal is, and nothing of a command that fails at once', async () => {
  await run(() => {}, false);
  const failing: Command = { says: '', flags: {}, run: () => Promise.reject(new Error('no')) };
  await expect(withElapsed('revoke', failing).run({} as Invocation, io())).rejects.toThrow('no');
  await vi.advanceTimersByTimeAsync(5_000);
  expect(shown).toEqual([]);
});

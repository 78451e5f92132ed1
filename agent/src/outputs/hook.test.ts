import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { isRunning } from '../../../test/kit/processes.ts';
import { runHook } from './hook.ts';

const dir = mkdtempSync(join(tmpdir(), 'hook-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const never = new AbortController().signal;
const PATIENT = { runMs: 60_000, graceMs: 60_000 };
const shell = (script: string, ...args: readonly string[]) =>
  ['/bin/sh', '-c', script, 'sh', ...args] as const;

const pidIn = async (file: string): Promise<number> => {
  await vi.waitUntil(() => existsSync(file) && readFileSync(file, 'utf8').endsWith('\n'), {
    timeout: 20_000,
  });
  return Number(readFileSync(file, 'utf8'));
};

const gone = (pid: number) => vi.waitUntil(() => !isRunning(pid), { timeout: 20_000 });

describe('I80 a command of an output', () => {
  test('that ignores SIGTERM is ended when its time is over, with what it started', async () => {
    const file = join(dir, 'late');
    const hook = shell('trap "" TERM; sleep 600 & echo $! > "$1"; while :; do sleep 600; done', file);
    await expect(runHook(hook, { runMs: 300, graceMs: 50 }, never)).rejects.toThrow(
      expect.objectContaining({ code: 'unavailable', message: '/bin/sh did not end within 0.3 s' }),
    );
    if (existsSync(file)) await gone(await pidIn(file));
  });

  test('is asked to end before it is killed, when the agent closes', async () => {
    const [file, told] = [join(dir, 'asked'), join(dir, 'told')];
    const script = 'trap "echo asked > $2; exit 0" TERM; echo $$ > "$1"; while :; do sleep 0.02; done';
    const closing = new AbortController();
    const running = expect(runHook(shell(script, file, told), PATIENT, closing.signal)).rejects.toThrow(
      '/bin/sh was ended with the agent',
    );
    await pidIn(file);
    closing.abort();
    await running;
    expect(readFileSync(told, 'utf8')).toBe('asked\n');
  });

  test('does not keep the agent waiting by what it leaves behind', async () => {
    const file = join(dir, 'behind');
    await runHook(shell('sleep 600 & echo $! > "$1"; exit 0', file), PATIENT, never);
    await gone(await pidIn(file));
  });

  test('does not keep the agent waiting by a process that left its group', async () => {
    const file = join(dir, 'left');
    const script =
      'setsid sh -c "echo \\$\\$ > $1; exec sleep 600" & while ! [ -s "$1" ]; do sleep 0.02; done';
    await runHook(shell(script, file), PATIENT, never);
    process.kill(await pidIn(file), 'SIGKILL');
  });

  test('that writes without an end is reported with the end of its output', async () => {
    const hook = shell(
      'i=0; while [ $i -lt 2000 ]; do echo 0123456789 >&2; i=$((i+1)); done; echo last >&2; exit 3',
    );
    await expect(runHook(hook, PATIENT, never)).rejects.toThrow(/^\/bin\/sh ended with 3: [\d\n]{990,}last$/);
  });

  test('is not run when the agent is ending', async () => {
    await expect(runHook(['/bin/true'], PATIENT, AbortSignal.abort())).rejects.toThrow('was not run');
  });
});

import { execFileSync } from 'node:child_process';
import { expect, test, vi } from 'vitest';
import { isRunning, killLeft } from '../../../../../test/kit/processes.ts';

/** An agent that ends without having stopped its server, as one that is told a second time does. */
const ENDS = `
import { silentLog } from '@chancery/shared/ground/log.ts';
import { Child } from './child.ts';
const script = 'sleep 600 & echo $! $$ >&2; while :; do sleep 600; done';
let said = '';
const error = (line) => { said += line.line ?? ''; };
const log = { ...silentLog, info: error, warn: error, error };
new Child({ command: ['/bin/sh', '-c', script], env: process.env, account: undefined }, log);
setInterval(() => {
  if (!/^\\d+ \\d+/.test(said)) return;
  console.log(said);
  process.exit(0);
}, 20);`;

test('I95 the process group of a server ends with an agent that ends at once', async () => {
  const args = ['--input-type=module', '-e', ENDS];
  const pids = String(execFileSync(process.execPath, args, { cwd: import.meta.dirname, timeout: 60_000 }));
  const started = pids.trim().split(' ').map(Number);
  try {
    expect(started).toHaveLength(2);
    await vi.waitFor(() => expect(started.filter(isRunning)).toEqual([]), { timeout: 30_000 });
  } finally {
    killLeft(started);
  }
});

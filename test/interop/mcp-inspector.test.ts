/**
 * The official inspector's command line, unmodified, through connect and gateway to the reference server: by URL, where
 * it must not take a denial for a reason to sign in, and by the entry that we print for clients that start a command.
 */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Programs, SERVER, startPrograms } from '../kit/mcp/world/programs.ts';
import { makeFolder, removeFolder } from '../kit/processes.ts';

const INSPECTOR = fileURLToPath(
  import.meta.resolve('@modelcontextprotocol/inspector/clients/launcher/build/index.js'),
);

const dir = makeFolder();
const entries = join(dir, 'mcp.json');
let programs: Programs;
beforeAll(async () => {
  programs = await startPrograms(dir);
  writeFileSync(entries, await programs.configOf('cursor'));
});
afterAll(async () => {
  await programs?.close();
  removeFolder(dir);
});

const WAYS: readonly [string, () => readonly string[]][] = [
  ['by URL', () => [programs.url, '--transport', 'http']],
  ['by the entry of a client', () => ['--config', entries, '--server', SERVER]],
];

describe.each(WAYS)('the inspector %s', (_way, target) => {
  /** Its exit status and all that it says. It keeps its files in `dir`. */
  const inspect = (method: string, ...args: readonly string[]) =>
    new Promise<{ status: number; stdout: string; said: string }>((resolve) => {
      const line = ['--cli', ...target(), '--method', method, ...args];
      const env = { PATH: process.env['PATH'], HOME: dir };
      const child = execFile(process.execPath, [INSPECTOR, ...line], { env }, (error, stdout, stderr) =>
        resolve({ status: Number(error?.code ?? 0), stdout, said: stdout + stderr }),
      );
      child.stdin?.end();
    });
  const echo = (message: string) =>
    inspect('tools/call', '--tool-name', 'echo', '--tool-arg', `message=${message}`);

  test('lists what a rule lets', async () => {
    const { status, stdout, said } = await inspect('tools/list');
    expect(status, said).toBe(0);
    expect(stdout).toContain('"name": "echo"');
    expect(stdout).not.toContain('get-env');
  });

  test('calls what a rule lets', async () => {
    expect(await echo('hello')).toMatchObject({ status: 0, stdout: expect.stringContaining('Echo: hello') });
  });

  test('shows a denied call with its reason, and does not try to sign in', async () => {
    const { status, said } = await echo('forbidden');
    expect(status).not.toBe(0);
    expect(said).toContain('the call is not allowed');
    expect(said).not.toMatch(/oauth|sign in|unauthorized|ECONN|closed/i);
  });

  test('knows no tool that no rule lets', async () => {
    const { status, said } = await inspect('tools/call', '--tool-name', 'get-env');
    expect(status).not.toBe(0);
    expect(said).toContain(`Tool 'get-env' not found`);
  });

  test('reads the resource and gets the prompt that a rule lets', async () => {
    const uri = 'demo://resource/static/document/features.md';
    expect((await inspect('resources/read', '--uri', uri)).stdout).toContain(uri);
    expect((await inspect('prompts/get', '--prompt-name', 'simple-prompt')).stdout).toContain(
      '"role": "user"',
    );
    const denied = await inspect(
      'prompts/get',
      '--prompt-name',
      'args-prompt',
      '--prompt-args',
      'city=Paris',
    );
    expect(denied.status).not.toBe(0);
    expect(denied.said).not.toContain('"role": "user"');
  });
});

/** docs/guides/policy.md, typed in as it stands beside the config of a CA: it succeeds and shows what the page says. */
import { execFile } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { blocksOf } from '../house/markdown.ts';
import { textOf } from '../house/repository.ts';
import { CA_MAIN, makeFolder, type Ran, removeFolder, runProgram } from '../kit/processes.ts';

const PATIENCE_MS = 600_000;
const blocks = blocksOf(textOf('docs/guides/policy.md'));
const commands = blocks.filter(({ kind }) => kind === 'sh').map(({ text }) => text);

const dir = makeFolder();
const made = join(dir, 'ca');
let ran: Ran;
beforeAll(async () => {
  await runProgram(CA_MAIN, ['init', '--trust-domain', 'prod.example', '--dir', made]);
  writeFileSync(join(dir, 'chancery-ca'), `#!/bin/sh\nexec ${process.execPath} ${CA_MAIN} "$@"\n`);
  chmodSync(join(dir, 'chancery-ca'), 0o755);
  ran = await shell(commands.join(''));
}, PATIENCE_MS);
afterAll(() => removeFolder(dir));

function shell(script: string): Promise<Ran> {
  const env = { ...process.env, PATH: `${dir}:${process.env['PATH']}` };
  return new Promise((resolve) => {
    execFile('bash', ['-euc', script], { cwd: made, env, timeout: PATIENCE_MS }, (error, stdout, stderr) =>
      resolve({ status: error === null ? 0 : Number(error.code ?? 255), stdout, stderr }),
    );
  });
}

test('every command succeeds', () => {
  expect(ran, ran.stderr).toMatchObject({ status: 0 });
  expect(ran.stdout).toMatch(/^ca.yaml is good: .* 3 resources$/m);
  expect(ran.stdout).toMatch(/^ca.yaml is good: .* 5 resources$/m);
});

test('the answer is the one that the page shows', () => {
  const [shown] = blocks.filter(({ kind }) => kind === 'text');
  expect(ran.stdout).toContain(shown?.text);
});

test('each case is as it says', () => {
  expect(ran.stdout.match(/^ok {4}/gm)).toHaveLength(6);
});

test.each([
  ['a rule that allows too much', 'allowActions: [read, query]', 'allowActions: [read, query, update]'],
  ['a condition that is gone', 'when: args.owner', '# when: args.owner'],
  ['a deny that is gone', ', denyActions: [admin]', ''],
])('the cases find %s', async (_what, from, to) => {
  const [policy = '', , cases = ''] = commands;
  expect(policy).toContain(from);
  const { status, stdout } = await shell(policy.replace(from, to) + cases);
  expect(status).toBe(1);
  expect(stdout).toMatch(/^WRONG /m);
});

test('a condition of another form, which the page gives, lets a call without labels pass', async () => {
  const [policy = '', ask = ''] = commands;
  const other = policy.replace('size(args.labels) <= 5', '(!has(args.labels) || size(args.labels) <= 5)');
  const { status, stdout } = await shell(other + ask.replace(', "labels": ["bug"]', ''));
  expect(status).toBe(0);
  expect(stdout).toMatch(/^yes: own-issues/m);
});

/** docs/guides/server.md, typed in as it stands where a CA serves: it succeeds, and does what the page says. */
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { blocksOf } from '../house/markdown.ts';
import { textOf } from '../house/repository.ts';
import {
  AGENT_MAIN,
  CA_MAIN,
  freePort,
  makeFolder,
  type Ran,
  type Running,
  removeFolder,
  root,
  serveUnixCa,
} from '../kit/processes.ts';

const PATIENCE_MS = 600_000;
/** What the page starts in the background ends with its shell. */
const PRELUDE = `set -eum
trap 'for job in $(jobs -p); do kill -- "-$job"; done; wait' EXIT
`;

const dir = makeFolder();
const at = (name: string): string => join(dir, name);
let serving: Running;
let ran: Ran;
beforeAll(async () => {
  const made = await serveUnixCa(dir, 'quick.example', []);
  serving = made.serving;
  const gateway = await freePort();
  const script = blocksOf(textOf('docs/guides/server.md'))
    .filter(({ kind }) => kind === 'sh')
    .map(({ text }) => text)
    .join('')
    .replaceAll('127.0.0.1:8443', `127.0.0.1:${made.ca.port}`)
    .replaceAll('127.0.0.1:9443', `127.0.0.1:${gateway}`);
  command('chancery-ca', CA_MAIN);
  command('chancery-agent', AGENT_MAIN);
  ran = await shell(PRELUDE + script);
}, PATIENCE_MS);
afterAll(async () => {
  await serving?.stop();
  removeFolder(dir);
});

function command(name: string, main: string): void {
  writeFileSync(at(name), `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`);
  chmodSync(at(name), 0o755);
}

function shell(script: string): Promise<Ran> {
  const found = [dir, join(root, 'test/node_modules/.bin'), dirname(process.execPath), process.env['PATH']];
  const env = { ...process.env, PATH: found.join(delimiter) };
  return new Promise((resolve) => {
    execFile(
      'bash',
      ['-c', script],
      { cwd: dir, env, timeout: PATIENCE_MS - 10_000 },
      (error, stdout, stderr) =>
        resolve({ status: error === null ? 0 : Number(error.code ?? 255), stdout, stderr }),
    );
  });
}

const records = (): readonly Record<string, unknown>[] =>
  readFileSync(at('files-gateway/data/calls.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

test('every command succeeds', () => {
  expect(ran, ran.stderr).toMatchObject({ status: 0 });
});

test('the tools that the rule lets are marked, and the one that it lets answers', () => {
  expect(ran.stdout).toMatch(/read_text_file/);
  expect(ran.stdout).toMatch(/^hello$/m);
});

test('the other call fails as the page says, and the server never sees it', () => {
  const [shown = ''] = /`(no Access rule lets [^`]+)`/.exec(textOf('docs/guides/server.md'))?.slice(1) ?? [];
  expect(shown).not.toBe('');
  expect(ran.stdout + ran.stderr).toContain(shown);
  expect(existsSync(at('notes/today.txt'))).toBe(true);
  expect(existsSync(at('notes/new.txt'))).toBe(false);
});

test('both are in the records', () => {
  const decided = records().filter(({ stage }) => stage === 'decided');
  expect(decided).toContainEqual(
    expect.objectContaining({ tool: 'read_text_file', allow: true, rule: 'read-files' }),
  );
  expect(decided).toContainEqual(expect.objectContaining({ tool: 'write_file', allow: false }));
});

/** docs/quick-start.md, typed in as it stands: every command must succeed and show what the page says. */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort, makeFolder, removeFolder } from '../kit/processes.ts';
import { blocksOf } from './markdown.ts';
import { root, textOf } from './repository.ts';

const PATIENCE_MS = 600_000;
/** As at a terminal: each command in the background is a job of its own. What is left running at the end is stopped. */
const PRELUDE = `set -eum
trap 'for job in $(jobs -p); do kill -- "-$job"; done' EXIT
`;

const home = makeFolder();
const made = join(home, 'chancery-quick-start');
let ran: { status: number; stdout: string; stderr: string };

beforeAll(async () => {
  const script = join(home, 'script.sh');
  writeFileSync(script, PRELUDE + (await withFreePorts(commands())));
  const env = { ...process.env, HOME: home, NPM_CONFIG_UPDATE_NOTIFIER: 'false' };
  ran = await new Promise((resolve) => {
    execFile('bash', [script], { cwd: root, env, timeout: PATIENCE_MS - 10_000 }, (error, stdout, stderr) =>
      resolve({ status: error === null ? 0 : Number(error.code ?? 255), stdout, stderr }),
    );
  });
}, PATIENCE_MS);

afterAll(() => removeFolder(home));

const commands = (): string =>
  blocksOf(textOf('docs/quick-start.md'))
    .filter(({ kind }) => kind === 'sh')
    .map(({ text }) => text)
    .join('');

/** The page's ports may be taken here. `init` writes one of them, and leaves the other to its default. */
async function withFreePorts(script: string): Promise<string> {
  const [ca, http, gateway] = [await freePort(), await freePort(), await freePort()];
  return script
    .replace(/^chancery-ca init .*$/m, `$&\nsed -i 's/8443/${ca}/; $ a http: 127.0.0.1:9464' ca.yaml`)
    .replaceAll('127.0.0.1:8443', `127.0.0.1:${ca}`)
    .replaceAll('127.0.0.1:9464', `127.0.0.1:${http}`)
    .replaceAll('127.0.0.1:9443', `127.0.0.1:${gateway}`);
}

test('every command succeeds', () => {
  expect(ran, ran.stderr).toMatchObject({ status: 0 });
});

test('the CA is ready and explains itself', () => {
  expect(readFileSync(join(made, 'bundle.pem'), 'utf8')).toMatch(/^-----BEGIN CERTIFICATE-----/);
  expect(ran.stdout).toContain('4 changes; version 1 is in force\n');
  expect(ran.stdout).toMatch(/^yes: assistant-tools lets .* call tool echo/m);
  expect(ran.stdout).toMatch(/^no: assistant-tools does not let .* call tool get-env/m);
  expect(ran.stdout).toMatch(
    /^yes: assistant gives spiffe:\/\/quick.example\/agents\/assistant \(the default\)$/m,
  );
});

test('the call that is allowed is answered by the server, the other as the page shows', () => {
  const answers = linesIn('answers.jsonl');
  expect(answers).toContainEqual(
    expect.objectContaining({ id: 1, result: { content: [{ type: 'text', text: 'Echo: hello' }] } }),
  );
  const [shown = ''] = blocksOf(textOf('docs/quick-start.md')).flatMap(({ kind, text }) =>
    kind === 'json' ? [text] : [],
  );
  const denied = answers.find((answer) => Reflect.get(answer, 'id') === 2);
  expect(JSON.stringify(denied).replace(/"decisionId":"[^"]+"/, '"decisionId":"..."')).toBe(shown.trim());
});

test('both calls are on record', () => {
  const decided = linesIn('server/data/calls.jsonl').filter(
    (line) => Reflect.get(line, 'stage') === 'decided',
  );
  expect(decided).toContainEqual(
    expect.objectContaining({ tool: 'echo', allow: true, rule: 'assistant-tools' }),
  );
  expect(decided).toContainEqual(expect.objectContaining({ tool: 'get-env', allow: false }));
});

const linesIn = (name: string): readonly object[] =>
  readFileSync(join(made, name), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

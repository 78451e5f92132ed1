/** Configs of MCP clients that `doctor` looks into: M207 and M208. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { agentCli } from '../../kit/observe/agent-cli.ts';

let home: string;
let file: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'doctor-'));
  file = join(home, '.cursor/mcp.json');
  mkdirSync(dirname(file));
});
afterEach(() => rmSync(home, { recursive: true }));

const write = (value: unknown): void =>
  writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value));
/** A job that can prove itself: then the status is that of the configs. */
const JOB = {
  GITHUB_ACTIONS: 'true',
  ACTIONS_ID_TOKEN_REQUEST_URL: 'https://token.example/',
  ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'x',
};
const cli = (...flags: readonly string[]) => agentCli(['doctor', ...flags], { env: { ...JOB, HOME: home } });
const clients = async () => JSON.parse((await cli('--json')).out).clients;

describe('M207 a key that is written out', () => {
  const KEY = 'hunter2-is-not-a-good-password';
  const TOKEN = `ghp_${'b2'.repeat(18)}`;

  test.each([
    ['in the environment', { command: 'npx', env: { API_KEY: KEY } }, 'env.API_KEY'],
    ['in a header', { url: 'https://mcp.example', headers: { Authorization: KEY } }, 'headers.Authorization'],
    ['in an argument', { command: 'npx', args: ['--token', KEY] }, 'args[1]'],
    ['in the query of a URL', { url: `https://mcp.example/?token=${KEY}` }, 'url ?token'],
    ['in the password of a URL', { url: `https://me:${KEY}@mcp.example/` }, 'url (password)'],
    ['in the name of a program', { command: `/opt/${TOKEN}` }, 'command'],
    ['in the name of a variable', { command: 'npx', env: { [TOKEN]: TOKEN } }, 'env.[masked: GitHub token]'],
  ])('%s is named by its place, and never shown', async (_, entry, place) => {
    write({ mcpServers: { github: entry, [TOKEN]: entry } });
    const [text, json] = [await cli(), await cli('--json')];
    for (const { out, err, status } of [text, json]) {
      expect(status).toBe(1);
      expect(out + err).not.toContain(KEY);
      expect(out + err).not.toContain(TOKEN);
    }
    const [{ servers }] = JSON.parse(json.out).clients;
    expect(servers).toMatchObject([{ server: 'github', guarded: false, keys: [place] }, { keys: [place] }]);
    expect(text.out.replaceAll(/\s+/g, ' ')).toContain(`keys are written out in ${place}`);
  });

  test('is found behind connect, too, and in a file with comments', async () => {
    write(`{ // mine\n"mcpServers": {"a": {"command": "chancery-agent", "args": ["connect", "a"]}, "b":
      {"command": "chancery-agent", "args": ["connect", "b"], "env": {"API_KEY": "${KEY}"}}}}`);
    expect(await clients()).toMatchObject([
      {
        client: 'Cursor',
        file,
        problem: null,
        servers: [{ keys: [] }, { guarded: true, keys: ['env.API_KEY'] }],
      },
    ]);
  });
});

describe('M208 a config', () => {
  test.each<[string, () => void, RegExp]>([
    [
      'that is a named pipe',
      () => void execFileSync('mkfifo', [file]),
      /mcp\.json: a regular file is expected, found a pipe/,
    ],
    [
      'of 33 MiB',
      () => {
        write('{}');
        truncateSync(file, 33 * 1024 * 1024);
      },
      /34603008 bytes, at most 33554432/,
    ],
    ['with 101 objects in each other', () => write('{"a":'.repeat(101)), /more than 100 objects/],
    ['with 1,001 servers', () => write({ mcpServers: Object.fromEntries(manyNames()) }), /1001 MCP servers/],
    ['that is not JSON', () => write('{"mcpServers": {"a": '), /line 1: a value is expected/],
    [
      'that others may write',
      () => {
        write('{}');
        chmodSync(file, 0o666);
      },
      /others may write it \(mode 666\)/,
    ],
  ])('%s is a problem, and the others are read', async (_, spoil, says) => {
    spoil();
    const good = { command: 'chancery-agent', args: ['connect', 'a'] };
    writeFileSync(join(home, '.claude.json'), JSON.stringify({ mcpServers: { a: good } }));
    const { status, out } = await cli('--json');
    expect(status).toBe(1);
    const found = JSON.parse(out).clients;
    expect(found).toMatchObject([
      { client: 'Claude Code', problem: null, servers: [{ server: 'a', guarded: true }] },
      { client: 'Cursor', problem: expect.stringMatching(says), servers: [] },
    ]);
  });
});

const manyNames = () => Array.from({ length: 1_001 }, (_, n) => [`s${n}`, {}] as const);

test('a machine without such a config has no finding', async () => {
  expect(await clients()).toEqual([]);
  const { status, out } = await cli();
  expect(status).toBe(0);
  expect(out).not.toContain('MCP clients');
});

test('a machine whose clients all go through connect has no finding', async () => {
  write({ mcpServers: { github: { command: 'chancery-agent', args: ['connect', 'github'] } } });
  const { status, out } = await cli();
  expect([status, out]).toEqual([
    0,
    expect.stringMatching(/^MCP clients\n {2}yes {2}github {2}through connect/m),
  ]);
  expect(out).not.toContain('bypass');
});

import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { agentCli, ownUid } from '../../../../test/kit/observe/agent-cli.ts';

const dir = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), 'chy-')));
afterAll(() => fs.rmSync(dir, { recursive: true }));
const config = join(dir, 'agent.yaml');
const home = join(dir, 'home');
const entry = {
  command: '/usr/bin/node',
  args: ['/opt/chancery/main.ts', 'connect', 'github', '--config', config],
};
const cli = (...args: readonly string[]) =>
  agentCli(['mcp', 'config', 'github', '--config', config, ...args], { env: { HOME: home } });

beforeEach(() => {
  fs.rmSync(home, { recursive: true, force: true });
  fs.mkdirSync(home, { mode: 0o700 });
});

test.each([
  [[], { mcpServers: { github: entry } }],
  [['--client', 'claude-code'], { mcpServers: { github: { type: 'stdio', ...entry } } }],
  [['--client', 'cursor'], { mcpServers: { github: entry } }],
  [['--client', 'vscode'], { servers: { github: { type: 'stdio', ...entry } } }],
])('prints the entry %s', async (flags, expected) => {
  const { status, out } = await cli(...flags);
  expect(status).toBe(0);
  expect(JSON.parse(out)).toEqual(expected);
});

test('without a name it is one entry for all servers', async () => {
  const { out } = await agentCli(['mcp', 'config', '--config', config], { env: { HOME: home } });
  const args = ['/opt/chancery/main.ts', 'connect', '--config', config];
  expect(JSON.parse(out)).toEqual({ mcpServers: { chancery: { ...entry, args } } });
});

/** As these programs write their files, without an entry. */
const FILES = {
  claude: {
    path: '.config/Claude/claude_desktop_config.json',
    text: '{\n  "mcpServers": {\n    "files": {\n      "command": "npx",\n      "args": [\n        "-y"\n      ]\n    }@\n  }\n}\n',
  },
  'claude-code': {
    path: '.claude.json',
    text: '{\n  "numStartups": 12,\n  "projects": {\n    "/src": {\n      "mcpServers": {}\n    }\n  },\n  "mcpServers": {\n    "a": {\n      "type": "http",\n      "url": "https://mcp.example/mcp"\n    }@\n  },\n  "userID": "5f"\n}',
  },
  cursor: {
    path: '.cursor/mcp.json',
    text: '{\n  "mcpServers": {\n    "a": { "url": "http://localhost:1/mcp" }@\n  }\n}\n',
  },
  vscode: {
    path: '.config/Code/User/mcp.json',
    text: '{\n\t// mine\n\t"servers": {\n\t\t"a": {\n\t\t\t"url": "https://a.example/mcp",\n\t\t\t"type": "http"\n\t\t}@,\n\t},\n\t"inputs": []\n}',
  },
} as const;
type Name = keyof typeof FILES;
const NAMES = Object.keys(FILES) as Name[];

const place = (name: Name, mode = 0o600): { readonly file: string; readonly text: string } => {
  const file = join(home, FILES[name].path);
  const text = FILES[name].text.replace('@', '');
  fs.mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  fs.writeFileSync(file, text);
  fs.chmodSync(file, mode);
  return { file, text };
};
const read = (file: string): string => fs.readFileSync(file, 'utf8');
const besides = (file: string): readonly string[] =>
  fs.readdirSync(dirname(file)).filter((name) => name.startsWith(`${file.split('/').at(-1)}.`));

describe('--write', () => {
  test.each(NAMES)(
    'adds an entry for %s, leaves every other byte, and keeps a copy and the mode',
    async (name) => {
      const { file, text } = place(name, 0o640);
      const { status, out, err } = await cli('--write', '--client', name);
      expect([status, err]).toEqual([0, '']);
      const [before, after] = FILES[name].text.split('@') as [string, string];
      const written = read(file);
      expect(written.startsWith(before)).toBe(true);
      expect(written.endsWith(after.replace(/^,/, ''))).toBe(true);
      expect(written.slice(before.length)).toMatch(/^,\s+"github": \{/);
      const [backup, ...more] = besides(file);
      expect(more).toEqual([]);
      expect(out).toContain(`the file as it was: ${join(dirname(file), backup ?? '')}\n`);
      expect(read(join(dirname(file), backup ?? ''))).toBe(text);
      for (const each of [file, join(dirname(file), backup ?? '')])
        expect(fs.statSync(each).mode & 0o777).toBe(0o640);
    },
  );

  test.each(NAMES)('does nothing the second time for %s', async (name) => {
    const { file } = place(name);
    await cli('--write', '--client', name);
    const written = read(file);
    const { status, out } = await cli('--write', '--client', name);
    expect([status, out]).toEqual([0, `${file} has this entry already\n`]);
    expect(read(file)).toBe(written);
    expect(besides(file)).toHaveLength(1);
  });

  test('makes the file where the client has a folder, for its user alone', async () => {
    const file = join(home, FILES.cursor.path);
    fs.mkdirSync(dirname(file), { mode: 0o700 });
    expect((await cli('--write', '--client', 'cursor')).status).toBe(0);
    expect(JSON.parse(read(file))).toEqual({ mcpServers: { github: entry } });
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    expect(besides(file)).toEqual([]);
  });

  test('replaces an entry of that name, and says so', async () => {
    const { file } = place('cursor');
    fs.writeFileSync(file, '{"mcpServers": {"github": {"url": "https://mcp.example/mcp"}}}');
    const { out } = await cli('--write', '--client', 'cursor', '--json');
    expect(JSON.parse(out)).toEqual({
      file,
      changed: true,
      replaces: true,
      backup: join(dirname(file), besides(file)[0] ?? ''),
    });
    expect(JSON.parse(read(file))).toEqual({ mcpServers: { github: entry } });
  });

  test('keeps a link, and writes what it leads to', async () => {
    const file = join(home, 'dotfiles.json');
    fs.writeFileSync(file, '{}', { mode: 0o600 });
    fs.symlinkSync(file, join(home, '.claude.json'));
    expect((await cli('--write', '--client', 'claude-code')).out).toMatch(
      /^\S+dotfiles\.json: github is added/,
    );
    expect(fs.readlinkSync(join(home, '.claude.json'))).toBe(file);
    expect(JSON.parse(read(file)).mcpServers).toHaveProperty('github');
  });

  test('keeps a mark at the start of the text', async () => {
    const { file } = place('vscode');
    fs.writeFileSync(file, '\uFEFF{"servers": {}}');
    expect((await cli('--write', '--client', 'vscode')).status).toBe(0);
    expect(read(file).startsWith('\uFEFF{"servers": {\n')).toBe(true);
  });
});

describe('--dry-run', () => {
  test.each(NAMES)('shows the lines for %s and changes nothing', async (name) => {
    const { file, text } = place(name);
    const { status, out } = await cli('--write', '--dry-run', '--client', name);
    expect(status).toBe(0);
    expect(out).toMatch(/^\S+json, line \d+\n(-.*\n)?(\+.*\n)+$/);
    expect(out).toMatch(/^\+\s+"github": \{$/m);
    expect(read(file)).toBe(text);
    expect(besides(file)).toEqual([]);
  });

  test('prints no key of the entry that it would replace', async () => {
    const { file } = place('cursor');
    const key = `ghp_${'a'.repeat(36)}`;
    const old = JSON.stringify({ mcpServers: { github: { headers: { Authorization: key } } } }, null, 2);
    fs.writeFileSync(file, old);
    const { out } = await cli('--write', '--dry-run', '--client', 'cursor');
    expect(out).not.toContain(key);
    expect(out).toContain('[masked: GitHub token]');
  });
});

describe('refuses', () => {
  const refused = async (says: RegExp, ...flags: readonly string[]): Promise<void> => {
    const { status, out, err } = await cli('--write', '--client', 'claude-code', ...flags);
    expect([status, out]).toEqual([1, '']);
    expect(err).toMatch(says);
  };
  const spoil = (text: string | Uint8Array): string => {
    const { file } = place('claude-code');
    fs.writeFileSync(file, text);
    return file;
  };

  test.each([
    ['what is not JSON', '{"mcpServers": {', /\.claude\.json: line 1: a closing brace is expected/],
    ['comments that the client cannot read', '{\n// a\n}', /\.claude\.json: line 2: a comment, which/],
    ['servers twice', '{"mcpServers": {}, "mcpServers": {}}', /\.claude\.json: mcpServers is there twice/],
    ['what is not UTF-8', Uint8Array.of(0x7b, 0xff, 0x7d), /\.claude\.json: the file is not UTF-8/],
  ])('%s, and leaves the file', async (_, text, says) => {
    const file = spoil(text);
    const before = fs.readFileSync(file);
    await refused(says);
    expect(fs.readFileSync(file)).toEqual(before);
    expect(besides(file)).toEqual([]);
  });

  test('a file that others may write', async () => {
    const file = spoil('{}');
    fs.chmodSync(file, 0o602);
    await refused(/others may write it \(mode 602\)/);
  });

  test('a folder that others may write in', async () => {
    spoil('{}');
    fs.chmodSync(home, 0o777);
    await refused(/others may write in \S+home: mode 777/);
  });

  test('a folder in its place', async () => {
    fs.mkdirSync(join(home, '.claude.json'));
    await refused(/a file is expected, found a folder/);
  });

  test('a client without a folder here', async () => {
    const { status, err } = await cli('--write', '--client', 'vscode');
    expect(status).toBe(1);
    expect(err).toMatch(
      /VS Code has no config here: \S+User does not exist; install VS Code, or name another/,
    );
  });

  test('a link that leads nowhere', async () => {
    fs.symlinkSync(join(home, 'gone'), join(home, '.claude.json'));
    await refused(/\.claude\.json: the link leads to no file/);
    expect(fs.existsSync(join(home, 'gone'))).toBe(false);
  });

  test.runIf(ownUid === 0)('a file and a link of another user', async () => {
    const file = spoil('{}');
    fs.chownSync(file, 4711, 4711);
    await refused(/it belongs to uid 4711, and this is uid 0/);
    fs.rmSync(file);
    fs.writeFileSync(join(home, 'other'), '{}');
    fs.symlinkSync(join(home, 'other'), file);
    fs.lchownSync(file, 4711, 4711);
    await refused(/the link \S+\.claude\.json belongs to uid 4711/);
  });

  test.each([
    [['--dry-run'], {}, /^--dry-run is for --write/],
    [['--write'], { HOME: 'relative' }, /^--write: HOME does not say where the home folder is/],
  ])('%s', async (flags, env, says) => {
    const { status, err } = await agentCli(['mcp', 'config', 'github', ...flags], { env });
    expect(status).toBe(2);
    expect(err).toMatch(says);
  });
});

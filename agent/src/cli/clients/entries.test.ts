import { expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { entriesIn } from './entries.ts';
import { readJsonText } from './json-text.ts';

const guards = { programs: new Set(['/opt/chancery/main.ts']), ports: new Set([7000]) };
const entries = (value: unknown) =>
  entriesIn(readJsonText(JSON.stringify(value), true), 'mcpServers', guards);
const entryOf = (value: unknown) => entries({ mcpServers: { x: value } })[0];

test.each([
  ['this program by its name', { command: 'chancery-agent', args: ['connect', 'x'] }],
  ['its path', { command: '/usr/bin/chancery-agent', args: ['connect'] }],
  ['its path on Windows', { command: 'C:\\x\\chancery-agent.cmd', args: ['connect', 'x'] }],
  ['its file by Node', { command: '/usr/bin/node', args: ['/opt/chancery/main.ts', 'connect', 'x'] }],
  ['an address of the config', { url: 'http://127.0.0.1:7000/mcp' }],
  ['the same by name', { type: 'http', url: 'http://localhost:7000/mcp' }],
])('%s goes through connect', (_, value) => {
  expect(entryOf(value)).toMatchObject({ server: 'x', guarded: true, keys: [] });
});

test.each([
  ['another program', { command: 'npx', args: ['chancery-agent', 'connect'] }, 'the program npx'],
  ['this name as an argument', { command: '/tmp/x', args: ['chancery-agent', 'connect'] }, 'the program x'],
  ['another command', { command: 'chancery-agent', args: ['exec', 'x'] }, 'the program chancery-agent'],
  ['a longer name', { command: 'chancery-agent-2', args: ['connect'] }, 'the program chancery-agent-2'],
  ['a URL', { url: 'https://me:pw@mcp.example/a?b' }, 'https://mcp.example'],
  ['another port', { url: 'http://127.0.0.1:7001/mcp' }, 'http://127.0.0.1:7001'],
  ['the port of another machine', { url: 'http://10.0.0.1:7000/mcp' }, 'http://10.0.0.1:7000'],
  ['both', { command: 'chancery-agent', args: ['connect'], url: 'https://a.example' }, 'https://a.example'],
  ['what has no address', {}, 'the program '],
  ['a text', 'chancery-agent connect', 'the program '],
  ['no URL', { url: '://' }, 'a URL that cannot be read'],
])('%s bypasses the gateway', (_, value, to) => {
  expect(entryOf(value)).toMatchObject({ guarded: false, to });
});

test('entries of the projects of Claude Code, and both of one name, are found', () => {
  const text =
    '{"mcpServers": {"a": {"url": "https://1.example"}, "a": {"url": "https://2.example"}}, "projects":';
  const json = readJsonText(`${text} {"/src": {"mcpServers": {"b": {"command": "x"}}}, "/y": 1}}`, true);
  expect(entriesIn(json, 'mcpServers', guards)).toMatchObject([
    { server: 'a', project: null, to: 'https://1.example' },
    { server: 'a', project: null, to: 'https://2.example' },
    { server: 'b', project: '/src', to: 'the program x' },
  ]);
});

test('a file has at most 1,000 entries', () => {
  const named = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`s${n}`, {}]));
  expect(entries({ mcpServers: named(1_000) })).toHaveLength(1_000);
  const says = /^1001 MCP servers, at most 1000$/;
  expect(() => entries({ mcpServers: named(1_001) })).toThrow(refusal('file', says));
});

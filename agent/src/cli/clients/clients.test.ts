import { expect, test } from 'vitest';
import { CLIENTS, homeOf } from './clients.ts';

const mac = { HOME: '/Users/ada' };
const linux = { HOME: '/u/ada' };
const windows = { USERPROFILE: 'C:\\Users\\ada', APPDATA: 'D:\\Roaming' };

test.each([
  ['claude', 'darwin', mac, '/Users/ada/Library/Application Support/Claude/claude_desktop_config.json'],
  ['claude', 'win32', windows, 'D:\\Roaming\\Claude\\claude_desktop_config.json'],
  ['claude', 'linux', linux, '/u/ada/.config/Claude/claude_desktop_config.json'],
  ['claude-code', 'darwin', mac, '/Users/ada/.claude.json'],
  ['claude-code', 'win32', windows, 'C:\\Users\\ada\\.claude.json'],
  ['claude-code', 'linux', { ...linux, CLAUDE_CONFIG_DIR: '/srv/claude' }, '/srv/claude/.claude.json'],
  ['cursor', 'linux', linux, '/u/ada/.cursor/mcp.json'],
  ['cursor', 'win32', windows, 'C:\\Users\\ada\\.cursor\\mcp.json'],
  ['vscode', 'darwin', mac, '/Users/ada/Library/Application Support/Code/User/mcp.json'],
  ['vscode', 'win32', { USERPROFILE: 'C:\\u' }, 'C:\\u\\AppData\\Roaming\\Code\\User\\mcp.json'],
  ['vscode', 'linux', { ...linux, XDG_CONFIG_HOME: '/u/ada/cfg' }, '/u/ada/cfg/Code/User/mcp.json'],
  ['vscode', 'linux', { ...linux, XDG_CONFIG_HOME: 'cfg' }, '/u/ada/.config/Code/User/mcp.json'],
] as const)('the file of %s on %s', (name, platform, env, path) => {
  const home = homeOf(env, platform);
  expect(home && CLIENTS[name].file(home)).toBe(path);
});

test.each([{}, { HOME: '' }, { HOME: 'home' }])('no home without an absolute path: %j', (env) => {
  expect(homeOf(env, 'linux')).toBeUndefined();
});

import { expect, test } from 'vitest';
import { accountFor, environmentFor } from './account.ts';

const FILES = () => ({
  passwd: 'root:x:0:0:root:/root:/bin/sh\nmcp:x:990:991::/var/lib/mcp:/bin/false\n',
  group: 'root:x:0:\nmcp:x:991:\ndata:x:50:mcp\n',
});
const MCP = { uid: 990, gid: 991, name: 'mcp', home: '/var/lib/mcp' };

test.each([
  ['by name', { user: 'mcp' }, 0, MCP],
  ['by uid', { user: '990' }, 0, MCP],
  ['with a group by name', { user: 'mcp', group: 'data' }, 0, { ...MCP, gid: 50 }],
  ['by numbers that no file knows', { user: '5000', group: '6000' }, 0, { uid: 5000, gid: 6000 }],
  ['root, which says so', { user: 'root' }, 0, undefined],
  ['the own user of an agent that is not root', { user: 'mcp' }, 990, undefined],
  ['nobody named, by an agent that is not root', {}, 990, undefined],
])('M44 a command runs as %s', (_name, wanted, ownUid, account) => {
  const found = accountFor(wanted, ownUid, FILES);
  if (account === undefined) expect(found).toBe(undefined);
  else expect(found).toMatchObject(account);
});

test.each([
  ['as root by default', {}, 0, /runs as root, so set `user`/],
  ['with a group and no user', { group: 'data' }, 990, /group: set `user`/],
  ['as another user, by an agent that is not root', { user: 'root' }, 990, /runs as uid 990 and cannot/],
  ['in another group, by an agent that is not root', { user: 'mcp', group: 'data' }, 990, /cannot run/],
  ['as a user that does not exist', { user: 'ghost' }, 0, /user: ghost does not exist/],
  ['as a user without a group', { user: '5000' }, 0, /group: missing/],
])('M44 a command does not run %s', (_name, wanted, ownUid, message) => {
  expect(() => accountFor(wanted, ownUid, FILES)).toThrow(
    expect.objectContaining({ code: 'config', message: expect.stringMatching(message) }),
  );
});

test('another user gets no home, shell or folder of the agent', () => {
  const env = {
    PATH: '/bin',
    HOME: '/var/lib/agent',
    USER: 'root',
    SHELL: '/bin/sh',
    TMPDIR: '/var/lib/agent/tmp',
  };
  expect(environmentFor(MCP, env)).toEqual({ PATH: '/bin', HOME: '/var/lib/mcp', USER: 'mcp' });
  expect(environmentFor(undefined, env)).toBe(env);
});

import { expect, test, vi } from 'vitest';
import { Access } from './access.ts';
import { McpServer } from './server.ts';

const server = {
  kind: 'McpServer',
  name: 'github',
  identity: 'spiffe://prod.example/ns/tools/sa/github-mcp',
  address: 'github-mcp.tools.svc:8443',
  owner: 'platform@prod.example',
  class: 'tool-endpoint',
  tools: { get_issue: { action: 'read' } },
};
const access = {
  kind: 'Access',
  name: 'triage',
  who: ['spiffe://prod.example/ns/agents/sa/*'],
  servers: ['github'],
  tools: { allow: ['get_issue', 'list_*', '/(search|query)_.+/'], deny: ['delete_*'] },
};

test('the examples of the manual are accepted', () => {
  expect(McpServer.parse(server)).toEqual(server);
  for (const address of ['[::1]:8443', 'github:65535'])
    expect(McpServer.parse({ ...server, address })).toMatchObject({ address });
  expect(Access.parse(access)).toEqual(access);
  expect(Access.parse({ ...access, tools: { allow: ['x'] } }).tools).toEqual({ allow: ['x'], deny: [] });
  const { tools: _, ...others } = access;
  for (const key of ['resources', 'prompts', 'completion'])
    expect(Access.parse({ ...others, [key]: { allow: ['*'], deny: [] } })).not.toHaveProperty('tools');
});

test.each([
  ['an unknown key', { ...server, adress: 'x:1' }, /Unrecognized key.*adress/],
  [
    'a pinned definition',
    { ...server, tools: { x: { action: 'read', definition: 'sha256:00' } } },
    /definition/,
  ],
  ['a review', { ...server, tools: { x: { action: 'read', reviewed: {} } } }, /reviewed/],
  ['an unknown action', { ...server, tools: { x: { action: 'write' } } }, /action/],
  ['an unknown class', { ...server, class: 'other' }, /class/],
  ['a name in upper case', { ...server, name: 'GitHub' }, /lower-case/],
  ['a name with a slash', { ...server, name: 'a/b' }, /lower-case/],
  ['no SPIFFE ID', { ...server, identity: 'https://prod.example/x' }, /identity/],
  ['a pattern as identity', { ...server, identity: 'spiffe://prod.example/*' }, /identity/],
  ['no port', { ...server, address: 'github' }, /host:port/],
  ['port 65536', { ...server, address: 'github:65536' }, /above 65535/],
  ['a URL as address', { ...server, address: 'https://github:1' }, /host:port/],
])('McpServer refuses %s', (_name, document, message) => {
  expect(() => McpServer.parse(document)).toThrow(message);
});

test.each([
  [
    'a condition that is none',
    { ...access, when: 'args.a ==' },
    /column 8: it is not a CEL expression: found = but/,
  ],
  ['a condition on what is not there', { ...access, when: 'user == "a"' }, /column 1: there is no user/],
  ['an unknown class of tools', { ...access, tools: { allowActions: ['write'] } }, /allowActions/],
  ['no class of tools', { ...access, tools: { denyActions: [] } }, /denyActions/],
  ['rate', { ...access, rate: '60/m' }, /rate/],
  ['approval', { ...access, approval: 'none' }, /Unrecognized key.*approval/],
  ['an unknown key in tools', { ...access, tools: { allow: ['x'], denied: [] } }, /denied/],
  ['nobody', { ...access, who: [] }, /who/],
  ['no server', { ...access, servers: [] }, /servers/],
  ['a wildcard server', { ...access, servers: ['*'] }, /lower-case/],
  ['nothing about anything', { ...access, tools: undefined }, /at least one of tools, resources/],
  ['a bad URI', { ...access, resources: { allow: ['file:///a/../b'] } }, /dot segment/],
  ['a bad prompt', { ...access, prompts: { deny: ['a b'] } }, /not a prompt name/],
  ['a bad completion', { ...access, completion: { allow: [' a'] } }, /not the name of a prompt/],
  ['a block that says nothing', { ...access, prompts: {} }, /allows or denies something/],
  ['neither allow nor deny', { ...access, tools: {} }, /allows or denies something/],
  ['a bad SPIFFE pattern', { ...access, who: ['spiffe://*/x'] }, /trust domain is a wildcard/],
  ['a bad regex to allow', { ...access, tools: { allow: ['/(/'] } }, /not an RE2 regex/],
  ['a bad regex to deny', { ...access, tools: { allow: ['x'], deny: ['/(/'] } }, /not an RE2 regex/],
])('Access refuses %s', (_name, document, message) => {
  expect(() => Access.parse(document)).toThrow(message);
});

test('a fault of ours is not told as the fault of a text', async () => {
  vi.resetModules();
  vi.doMock('../patterns/tool.ts', async (original) => ({
    ...(await original<object>()),
    compileToolPattern: () => {
      throw new TypeError('a bug');
    },
  }));
  const faulty = await import('./access.ts');
  expect(() => faulty.Access.parse(access)).toThrow(new TypeError('a bug'));
});

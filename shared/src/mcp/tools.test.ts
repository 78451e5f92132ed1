import { expect, test } from 'vitest';
import type { JsonObject } from '../json.ts';
import type { Request } from './message.ts';
import { filterTools, narrowClient, narrowServer, toolUseOf } from './tools.ts';

const call = (params?: JsonObject, method = 'tools/call'): Request => ({
  kind: 'request',
  id: 1,
  method,
  params,
});

test('toolUseOf reads the name and the arguments', () => {
  expect(toolUseOf(call({ name: 'echo', arguments: { a: 1 }, _meta: {} }))).toEqual({
    tool: 'echo',
    arguments: { a: 1 },
  });
  expect(toolUseOf(call({ name: 'echo' }))).toEqual({ tool: 'echo', arguments: {} });
});

test.each([
  ['no params', undefined, /names no tool/],
  ['no name', {}, /names no tool/],
  ['an empty name', { name: '' }, /names no tool/],
  ['a name that is a number', { name: 1 }, /names no tool/],
  ['a name that is a list', { name: ['echo'] }, /names no tool/],
  ['Name beside name', { name: 'echo', Name: 'get-env' }, /a key other than/],
  ['Name instead of name', { Name: 'get-env' }, /a key other than/],
  ['Arguments beside arguments', { name: 'echo', arguments: {}, Arguments: {} }, /a key other than/],
  ['a task', { name: 'echo', task: { ttl: 1 } }, /a key other than/],
  ['a request state', { name: 'echo', requestState: 'x' }, /a key other than/],
  ['arguments that are a list', { name: 'echo', arguments: [] }, /arguments are not an object/],
  ['arguments that are null', { name: 'echo', arguments: 'x' }, /arguments are not an object/],
])('toolUseOf refuses %s', (_name, params, message) => {
  expect(() => toolUseOf(call(params))).toThrow(
    expect.objectContaining({ code: 'mcp_parse', message: expect.stringMatching(message) }),
  );
});

test('filterTools keeps order, cursor and what else the page has', () => {
  const page = { tools: [{ name: 'c', x: 1 }, { name: 'a' }, { name: 'b' }], nextCursor: 'n' };
  expect(filterTools(page, (tool) => tool !== 'a')).toEqual({
    tools: [{ name: 'c', x: 1 }, { name: 'b' }],
    nextCursor: 'n',
  });
});

test.each([
  [
    { tools: [], ttlMs: 5, cacheScope: 'public' },
    { tools: [], ttlMs: 5, cacheScope: 'private' },
  ],
  [
    { tools: [], ttlMs: 5 },
    { tools: [], ttlMs: 5, cacheScope: 'private' },
  ],
  [
    { tools: [], cacheScope: 'public' },
    { tools: [], cacheScope: 'private' },
  ],
  [{ tools: [] }, { tools: [] }],
])('filterTools marks %j as private where the era knows caches', (page, expected) => {
  expect(filterTools(page, () => true)).toEqual(expected);
});

test.each([
  ['no tools', {}, /has no tools/],
  ['tools that are an object', { tools: {} }, /has no tools/],
  ['a tool that is a string', { tools: ['echo'] }, /has no name/],
  ['a tool without name', { tools: [{ Name: 'echo' }] }, /has no name/],
])('filterTools refuses %s', (_name, page, message) => {
  expect(() => filterTools(page, () => true)).toThrow(
    expect.objectContaining({ code: 'mcp_parse', message: expect.stringMatching(message) }),
  );
});

test('narrowServer leaves tools and nothing else', () => {
  const tools = { listChanged: true };
  expect(
    narrowServer({ capabilities: { tools, prompts: {}, resources: {}, logging: {} }, serverInfo: {} }),
  ).toEqual({
    capabilities: { tools },
    serverInfo: {},
  });
  expect(narrowServer({ capabilities: { prompts: {} } })).toEqual({ capabilities: {} });
  expect(narrowServer({ instructions: 'x' })).toEqual({ instructions: 'x' });
});

test('narrowClient announces nothing a server could ask for', () => {
  const capabilities = { sampling: {}, elicitation: {}, roots: {} };
  expect(narrowClient(call({ protocolVersion: 'x', capabilities }, 'initialize')).params).toEqual({
    protocolVersion: 'x',
    capabilities: {},
  });
  const key = 'io.modelcontextprotocol/clientCapabilities';
  expect(narrowClient(call({ name: 'echo', _meta: { [key]: capabilities, x: 1 } })).params).toEqual({
    name: 'echo',
    _meta: { [key]: {}, x: 1 },
  });
  const plain = call({ name: 'echo', _meta: { progressToken: 1 } });
  expect(narrowClient(plain)).toBe(plain);
});

import { expect, test } from 'vitest';
import type { JsonObject } from '../ground/json.ts';
import type { Request } from './message.ts';
import { narrowClient, toolUseOf } from './tools.ts';

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
  ['a name with a NUL', { name: 'echo\0x' }, /has no UTF-8 form/],
  ['a name with a lone surrogate', { name: 'echo\ud800' }, /has no UTF-8 form/],
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

test('narrowClient leaves of a subscription what there are rules for', () => {
  const key = 'io.modelcontextprotocol/clientCapabilities';
  const _meta = { [key]: { sampling: {} } };
  const filter = { toolsListChanged: true, resourceSubscriptions: ['a:b'] };
  expect(narrowClient(call({ notifications: filter, _meta }, 'subscriptions/listen')).params).toEqual({
    notifications: { toolsListChanged: true },
    _meta: { [key]: {} },
  });
});

test('arguments that are null are forwarded as they are decided', () => {
  const nothing = call({ name: 'echo', arguments: null });
  expect(toolUseOf(nothing).arguments).toEqual({});
  expect(narrowClient(nothing).params).toEqual({ name: 'echo', arguments: {} });
});

import { expect, test } from 'vitest';
import type { JsonObject } from '../ground/json.ts';
import type { Request } from './message.ts';
import { callOf } from './tools.ts';

const call = (params?: JsonObject): Request => ({ kind: 'request', id: 1, method: 'tools/call', params });

test('callOf reads the name and the arguments', () => {
  const whole = call({ name: 'echo', arguments: { a: 1 }, _meta: {} });
  expect(callOf(whole)).toEqual({ tool: 'echo', arguments: { a: 1 }, isTask: false, forwarded: whole });
  const bare = call({ name: 'echo' });
  expect(callOf(bare)).toEqual({ tool: 'echo', arguments: {}, isTask: false, forwarded: bare });
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
])('callOf refuses %s', (_name, params, message) => {
  expect(() => callOf(call(params))).toThrow(
    expect.objectContaining({ code: 'mcp_parse', message: expect.stringMatching(message) }),
  );
});

test('arguments that are null are forwarded as they are read', () => {
  const { arguments: given, forwarded } = callOf(call({ name: 'echo', arguments: null }));
  expect(given).toEqual({});
  expect(forwarded.params).toEqual({ name: 'echo', arguments: {} });
});

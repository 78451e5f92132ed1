import { describe, expect, test } from 'vitest';
import { utf8 } from '../ground/bytes.ts';
import { errorResponse, readMessage, writeMessage } from './message.ts';

const read = (value: unknown) =>
  readMessage(utf8(typeof value === 'string' ? value : JSON.stringify(value)), 10_000);
const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: { a: 1 } } };
const answer = { jsonrpc: '2.0', id: 'x', result: { tools: [] } };
const failure = { jsonrpc: '2.0', id: 3, error: { code: -32601, message: 'no', data: [1] } };

test.each([
  [call, { kind: 'request', id: 1, method: 'tools/call', params: call.params }],
  [
    { ...call, id: 'a' },
    { kind: 'request', id: 'a', method: 'tools/call', params: call.params },
  ],
  [
    { jsonrpc: '2.0', method: 'notifications/initialized' },
    { kind: 'notification', method: 'notifications/initialized' },
  ],
  [answer, { kind: 'response', id: 'x', result: { tools: [] } }],
  [failure, { kind: 'response', id: 3, error: { code: -32601, message: 'no', data: [1] } }],
])('reads %j and writes the same', (value, message) => {
  expect(read(value)).toEqual(message);
  expect(JSON.parse(writeMessage(read(value)))).toEqual(value);
});

test('an error for an unreadable request has no id, or null; it is written as null', () => {
  for (const id of [undefined, null]) {
    const message = read({ ...failure, id });
    expect(message).toMatchObject({ kind: 'response', id: undefined });
    expect(JSON.parse(writeMessage(message))).toEqual({ ...failure, id: null });
  }
  expect(errorResponse(1, { code: 2, message: 'x' })).toMatchObject({ id: 1, error: { code: 2 } });
});

test('a method may have 128 characters and an id 256', () => {
  const long = { ...call, method: 'x'.repeat(128), id: 'y'.repeat(256) };
  expect(read(long)).toMatchObject({ method: long.method, id: long.id });
});

test.each(['"a\\u0000b"', '"\\ud83d"'])('%s passes unchanged in a value, and in a key of a server', (odd) => {
  const value = `{"jsonrpc":"2.0","id":1,"result":{"text":${odd}}}`;
  expect(writeMessage(read(value))).toBe(value);
  const key = `{"jsonrpc":"2.0","id":1,"result":{${odd}:1}}`;
  expect(writeMessage(readMessage(utf8(key), 10_000, 'server'))).toBe(key);
  expect(() => read(key)).toThrow(expect.objectContaining({ code: 'mcp_parse' }));
});

test("an error's other members are not forwarded", () => {
  const message = read({ ...failure, error: { ...failure.error, stack: 'at x' } });
  expect(JSON.parse(writeMessage(message))).toEqual(failure);
});

describe('readMessage refuses', () => {
  test.each([
    ['a batch', [call], /a batch, which MCP had in 2025-03-26 only/],
    ['a string', '"tools/call"', /not one JSON object/],
    [
      'Method instead of method',
      { jsonrpc: '2.0', id: 1, Method: 'tools/call' },
      /a key that JSON-RPC does not know/,
    ],
    ['METHOD beside method', { ...call, METHOD: 'ping' }, /a key that JSON-RPC does not know/],
    ['Params beside params', { ...call, Params: {} }, /a key that JSON-RPC does not know/],
    ['a long s in params', { ...call, 'param\u017f': {} }, /a key that JSON-RPC does not know/],
    ['an unknown key', { ...call, extra: 1 }, /a key that JSON-RPC does not know/],
    ['no version', { ...call, jsonrpc: undefined }, /not JSON-RPC 2.0/],
    ['version 1.0', { ...call, jsonrpc: '1.0' }, /not JSON-RPC 2.0/],
    ['the version as a number', { ...call, jsonrpc: 2 }, /not JSON-RPC 2.0/],
    ['method null', { ...call, method: null }, /method is not a name/],
    ['an empty method', { ...call, method: '' }, /method is not a name/],
    ['a method of 129', { ...call, method: 'x'.repeat(129) }, /more than 128/],
    ['params by position', { ...call, params: ['echo'] }, /params is not an object/],
    ['params null', { ...call, params: null }, /params is not an object/],
    ['a call with a result', { ...call, result: {} }, /call and a response at once/],
    ['a call with an error', { ...call, error: failure.error }, /call and a response at once/],
    ['id null', { ...call, id: null }, /neither a string nor an integer/],
    ['id 1.5', { ...call, id: 1.5 }, /neither a string nor an integer/],
    ['id an object', { ...call, id: {} }, /neither a string nor an integer/],
    ['id true', { ...call, id: true }, /neither a string nor an integer/],
    [
      'id beyond 2^53',
      '{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}',
      /neither a string nor an integer/,
    ],
    ['id 2^53', '{"jsonrpc":"2.0","id":9007199254740992,"method":"ping"}', /neither a string nor an integer/],
    ['id of 257', { ...call, id: 'x'.repeat(257) }, /id has more than 256/],
    ['neither call nor response', { jsonrpc: '2.0', id: 1 }, /no call and no response/],
    ['result and error', { ...answer, error: failure.error }, /no call and no response/],
    ['a response with params', { ...answer, params: {} }, /params and no method/],
    ['a result without id', { ...answer, id: undefined }, /neither a string nor an integer/],
    ['a result that is an array', { ...answer, result: [] }, /result is not an object/],
    ['a result null', { ...answer, result: null }, /result is not an object/],
    ['an error that is a string', { ...failure, error: 'no' }, /error is not an object/],
    ['a code that is a string', { ...failure, error: { code: '1', message: '' } }, /code is not an integer/],
    [
      'a code that is a fraction',
      { ...failure, error: { code: 1.5, message: '' } },
      /code is not an integer/,
    ],
    [
      'a code beyond 32 bits',
      { ...failure, error: { code: 2 ** 31, message: '' } },
      /not an integer of 32 bits/,
    ],
    [
      'a code below 32 bits',
      { ...failure, error: { code: -(2 ** 31) - 1, message: '' } },
      /not an integer of 32 bits/,
    ],
    ['an error without message', { ...failure, error: { code: 1 } }, /message is not a string/],
    [
      '65 levels',
      `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":${'['.repeat(63)}${']'.repeat(63)}}}`,
      /nested more than 64/,
    ],
    ['too many bytes', { ...call, params: { a: 'x'.repeat(10_000) } }, /at most 10000/],
  ])('%s', (_name, value, message) => {
    expect(() => read(value)).toThrow(
      expect.objectContaining({ code: 'mcp_parse', message: expect.stringMatching(message) }),
    );
  });
});

import { expect, test } from 'vitest';
import type { JsonObject } from '../ground/json.ts';
import type { Request } from './message.ts';
import { completionOf, promptOf, uriOf } from './uses.ts';

const request = (params?: JsonObject): Request => ({ kind: 'request', id: 1, method: 'm', params });
const argument = { name: 'a', value: 'b' };

test('what a request is for is read from its params', () => {
  expect(uriOf(request({ uri: 'file:///a', _meta: {} }))).toBe('file:///a');
  expect(promptOf(request({ name: 'greet' }))).toEqual({ name: 'greet', arguments: {} });
  expect(promptOf(request({ name: 'greet', arguments: { a: 'b' } })).arguments).toEqual({ a: 'b' });
  expect(completionOf(request({ ref: { type: 'ref/prompt', name: 'greet', title: 'G' }, argument }))).toEqual(
    {
      of: 'prompt',
      name: 'greet',
      arguments: { argument },
    },
  );
  const context = { arguments: { c: 'd' } };
  const ref = { type: 'ref/resource', uri: 'repo://{owner}' };
  expect(completionOf(request({ ref, argument, context }))).toEqual({
    of: 'template',
    name: 'repo://{owner}',
    arguments: { argument, context },
  });
});

const read = { uriOf, promptOf, completionOf };
const ref = { type: 'ref/prompt', name: 'greet' };
test.each<[keyof typeof read, JsonObject | undefined, RegExp]>([
  ['uriOf', undefined, /the uri of m is missing/],
  ['uriOf', { uri: '' }, /is missing/],
  ['uriOf', { uri: ['file:///a'] }, /is no text/],
  ['uriOf', { uri: 'file:///a\0b' }, /no UTF-8 form/],
  ['uriOf', { uri: 'file:///\ud800' }, /no UTF-8 form/],
  ['uriOf', { uri: 'file:///a', Uri: 'file:///b' }, /a key other than uri, _meta/],
  ['uriOf', { uri: 'file:///a', requestState: 'x' }, /a key other than/],
  ['promptOf', { arguments: {} }, /the name of m is missing/],
  ['promptOf', { name: 'greet', arguments: [] }, /not an object/],
  ['promptOf', { name: 'greet', arguments: null }, /not an object/],
  ['promptOf', { name: 'greet', inputResponses: {} }, /a key other than/],
  ['completionOf', { ref, argument, inputResponses: {} }, /a key other than/],
  ['completionOf', { ref, argument, requestState: 'x' }, /a key other than/],
  ['completionOf', { argument }, /the ref of m is not an object/],
  ['completionOf', { ref }, /the argument of m is not an object/],
  ['completionOf', { ref: { type: 'ref/tool', name: 'x' }, argument }, /of no known type/],
  [
    'completionOf',
    { ref: { ...ref, uri: 'file:///a' }, argument },
    /a reference to a prompt has a key other/,
  ],
  ['completionOf', { ref: { type: 'ref/resource', uri: 'a', name: 'b' }, argument }, /has a key other/],
  ['completionOf', { ref, argument: { ...argument, x: 1 } }, /an argument to complete has a key other/],
  ['completionOf', { ref, argument, context: [] }, /context of m is not an object/],
])('%s refuses %j', (name, params, message) => {
  expect(() => read[name](request(params))).toThrow(
    expect.objectContaining({ code: 'mcp_parse', message: expect.stringMatching(message) }),
  );
});

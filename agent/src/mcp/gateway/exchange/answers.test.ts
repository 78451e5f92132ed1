import type { JsonObject } from '@chancery/shared/ground/json.ts';
import type { Response } from '@chancery/shared/mcp/message.ts';
import { expect, test } from 'vitest';
import { narrowAnswer, notTheAnswer } from './answers.ts';

const freeText = { instructions: true, logs: true };
const result = (members: JsonObject): Response => ({
  kind: 'response',
  id: 1,
  result: members,
  error: undefined,
});
const error: Response = {
  kind: 'response',
  id: 1,
  result: undefined,
  error: { code: -32602, message: 'no', data: { tools: ['get-env'] } },
};

function narrow(method: string, response: Response): Response {
  const what = method === 'tools/call' ? ({ kind: 'tool', name: 'echo' } as const) : undefined;
  const asked = { recordId: 'r', requestId: 1, method, what, startedMs: 0 };
  return narrowAnswer(asked, response, {
    era: 'modern',
    freeText,
    may: ({ kind, name }) => ['tool echo', 'resource a:b', 'prompt greet'].includes(`${kind} ${name}`),
    toolOf: () => undefined,
    mayExpand: (template) => template === 'a:{b}',
    lets: (kind) => kind === 'prompt',
  });
}

test('the result and the error of an allowed call pass as they are', () => {
  const whole = result({ content: [], anything: 'x', resultType: 'complete' });
  expect(narrow('tools/call', whole)).toEqual(whole);
  expect(narrow('tools/call', error)).toBe(error);
});

test.each(['input_required', 'x', 7])('a result of type %j is denied', (resultType) => {
  for (const method of ['tools/call', 'tools/list'])
    expect(narrow(method, result({ resultType, tools: [] })).error).toMatchObject({
      code: -31403,
      data: { decisionId: 'r', reason: expect.stringMatching(/may not ask for input/) },
    });
});

test('a list has the tools that its caller may call', () => {
  const tools = [{ name: 'get-env' }, { name: 'echo' }];
  expect(narrow('tools/list', result({ tools, hidden: 'get-env' })).result).toEqual({
    tools: [{ name: 'echo' }],
  });
});

test.each([
  ['resources/list', { resources: [{ uri: 'a:b', x: 1 }, { uri: 'a:c' }] }, { resources: [{ uri: 'a:b' }] }],
  [
    'resources/templates/list',
    { resourceTemplates: [{ uriTemplate: 'a:{b}' }, { uriTemplate: 'a:b' }] },
    { resourceTemplates: [{ uriTemplate: 'a:{b}' }] },
  ],
  ['prompts/list', { prompts: [{ name: 'greet' }, { name: 'echo' }] }, { prompts: [{ name: 'greet' }] }],
  [
    'resources/read',
    { contents: [], x: 1, ttlMs: 1 },
    { contents: [], x: 1, ttlMs: 1, cacheScope: 'private' },
  ],
  ['prompts/get', { messages: [], x: 1 }, { messages: [], x: 1 }],
  ['completion/complete', { completion: { values: ['a'] } }, { completion: { values: ['a'] } }],
])('of the result of %s passes what its caller may use', (method, members, passed) => {
  expect(narrow(method, result(members)).result).toEqual(passed);
});

test.each([
  [
    'initialize',
    { capabilities: { resources: {}, prompts: { listChanged: true } }, hidden: 'x' },
    { capabilities: { prompts: { listChanged: true } } },
  ],
  [
    'server/discover',
    { capabilities: { prompts: {} }, cacheScope: 'public' },
    { capabilities: { prompts: {} }, cacheScope: 'private' },
  ],
  ['ping', { hidden: 'x' }, {}],
])('of the result of %s, what there are rules for passes', (method, members, passed) => {
  expect(narrow(method, result(members)).result).toEqual(passed);
});

test('of an error that is not a call, the code and the message pass', () => {
  expect(narrow('tools/list', error).error).toEqual({ code: -32602, message: 'no' });
});

test.each<[string, Parameters<typeof notTheAnswer>, RegExp]>([
  ['a call', [{ kind: 'request', id: 1, method: 'ping', params: undefined }, 1], /with a call instead/],
  ['nothing', [undefined, 1], /with a call instead/],
  ['another id', [result({}), 'x'], /has the id 1; "x" is expected$/],
  ['no id', [{ ...error, id: undefined }, 1], /has the id null; 1 is expected$/],
])('an answer that is none says so: %s', (_name, given, says) => {
  expect(notTheAnswer(...given)).toMatch(says);
});

import { expect, test } from 'vitest';
import type { JsonObject } from '../../ground/json.ts';
import { errorResponse, type Request } from '../message.ts';
import { type Asks, asksByUrl, asksOf, ensureAnswers, isAnswerTo, narrowClient } from './asks.ts';

test.each<[string, JsonObject | undefined, Asks | undefined]>([
  ['sampling/createMessage', { maxTokens: 1 }, 'sampling'],
  ['elicitation/create', { message: 'x' }, 'elicitation'],
  ['elicitation/create', { mode: 'form' }, 'elicitation'],
  ['elicitation/create', { mode: 'url', url: 'https://a.example' }, 'elicitation-url'],
  ['elicitation/create', { mode: 'URL' }, undefined],
  ['elicitation/create', { mode: null }, undefined],
  ['roots/list', undefined, 'roots'],
  ['sampling/createMessage', { task: { ttl: 1 } }, undefined],
  ['tools/call', {}, undefined],
  ['constructor', {}, undefined],
])('%s with %j asks for %s', (method, params, asks) => {
  expect(asksOf(method, params)).toBe(asks);
});

test.each<[JsonObject | string, readonly Asks[]]>([
  [{ action: 'accept', content: { a: 1 } }, ['elicitation', 'elicitation-url']],
  [{ action: 'decline' }, ['elicitation', 'elicitation-url']],
  [{ action: 'other' }, []],
  [{ role: 'assistant', model: 'm', content: { type: 'text', text: 'x' } }, ['sampling']],
  [{ role: 'assistant', content: {} }, []],
  [{ roots: [] }, ['roots']],
  [{ roots: {} }, []],
  [{}, []],
  ['accept', []],
])('%j answers questions for %j', (result, kinds) => {
  const all = ['sampling', 'elicitation', 'elicitation-url', 'roots'] as const;
  expect(all.filter((each) => isAnswerTo(each, result))).toEqual(kinds);
});

test('an error of the client answers any question, and a result only one of its kind', () => {
  const error = errorResponse('q', { code: -1, message: 'no' });
  expect(() => ensureAnswers('sampling', error)).not.toThrow();
  const roots = { kind: 'response', id: 'q', result: { roots: [] }, error: undefined } as const;
  expect(() => ensureAnswers('roots', roots)).not.toThrow();
  expect(() => ensureAnswers('sampling', roots)).toThrow(
    expect.objectContaining({
      code: 'mcp_parse',
      message: expect.stringMatching(/no answer .* for sampling/),
    }),
  );
});

test('an error that asks for a URL is a question', () => {
  expect(asksByUrl(errorResponse(1, { code: -32042, message: 'x' }))).toBe(true);
  expect(asksByUrl(errorResponse(1, { code: -32041, message: 'x' }))).toBe(false);
});

const ALL = {
  sampling: { tools: {}, other: 1 },
  elicitation: { form: {}, url: {}, other: {} },
  roots: { listChanged: true, other: 1 },
  tasks: {},
  experimental: {},
};

test.each<[string, JsonObject, readonly Asks[], JsonObject]>([
  ['nothing is let', ALL, [], {}],
  ['sampling is', ALL, ['sampling'], { sampling: { tools: {} } }],
  ['forms are', ALL, ['elicitation'], { elicitation: { form: {} } }],
  ['URLs are', ALL, ['elicitation-url'], { elicitation: { url: {} } }],
  ['roots are', ALL, ['roots'], { roots: { listChanged: true } }],
  ['a client without modes has forms', { elicitation: {} }, ['elicitation'], { elicitation: {} }],
  ['a client without modes has no URLs', { elicitation: {} }, ['elicitation-url'], {}],
  [
    'it announces other than objects',
    { sampling: true, elicitation: 1, roots: null },
    ['sampling', 'roots'],
    {},
  ],
])('the capabilities of a client where %s', (_name, announced, lets, kept) => {
  const key = 'io.modelcontextprotocol/clientCapabilities';
  const request = (method: string, params: JsonObject): Request => ({
    kind: 'request',
    id: 1,
    method,
    params,
  });
  const narrow = (each: Request) => narrowClient(each, (asks) => lets.includes(asks)).params;
  expect(narrow(request('initialize', { capabilities: announced, a: 1 }))).toEqual({
    capabilities: kept,
    a: 1,
  });
  expect(narrow(request('tools/call', { name: 'x', _meta: { [key]: announced, b: 2 } }))).toEqual({
    name: 'x',
    _meta: { [key]: kept, b: 2 },
  });
});

test('a request that announces nothing stays as it is', () => {
  const plain: Request = {
    kind: 'request',
    id: 1,
    method: 'tools/call',
    params: { _meta: { progressToken: 1 } },
  };
  expect(narrowClient(plain, () => true)).toBe(plain);
});

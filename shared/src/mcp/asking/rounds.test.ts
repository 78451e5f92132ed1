import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../ground/json.ts';
import type { Request } from '../message.ts';
import { isInputRequired, readInputRequired, readRetry, withAnswers, writeInputRequired } from './rounds.ts';

const refusal = (message: RegExp) =>
  expect.objectContaining({ code: 'mcp_parse', message: expect.stringMatching(message) });
const question = { method: 'elicitation/create', params: { message: 'who?' } };

test('only three requests are answered by questions', () => {
  const result = { resultType: 'input_required' };
  const methods = ['tools/call', 'prompts/get', 'resources/read', 'tools/list', 'server/discover'];
  expect(methods.filter((each) => isInputRequired(each, result))).toEqual(methods.slice(0, 3));
  expect(isInputRequired('tools/call', { resultType: 'complete' })).toBe(false);
});

describe('a result that needs input', () => {
  test('is read, and written anew with another state', () => {
    const result = {
      resultType: 'input_required',
      inputRequests: { name: { ...question, id: 7 }, roots: { method: 'roots/list' } },
      requestState: 's',
      hidden: 'get-env',
      _meta: { x: 1 },
    };
    const { questions, state } = readInputRequired(result);
    expect([questions, state]).toEqual([
      [
        { key: 'name', ...question, asks: 'elicitation' },
        { key: 'roots', method: 'roots/list', params: {}, asks: 'roots' },
      ],
      's',
    ]);
    expect(writeInputRequired(result, questions, 'sealed')).toEqual({
      resultType: 'input_required',
      inputRequests: { name: question, roots: { method: 'roots/list', params: {} } },
      requestState: 'sealed',
    });
  });

  test('may have a state alone', () => {
    const result = { resultType: 'input_required', requestState: 's' };
    const { questions } = readInputRequired(result);
    expect(writeInputRequired(result, questions, 'x')).toEqual({ ...result, requestState: 'x' });
  });

  test.each<[string, JsonObject, RegExp]>([
    ['neither', {}, /neither inputRequests nor requestState/],
    ['a list', { inputRequests: [] }, /inputRequests is not an object/],
    ['a question that is text', { inputRequests: { a: 'x' } }, /input request is not an object/],
    ['a question without a method', { inputRequests: { a: {} } }, /has no method/],
    ['params that are a list', { inputRequests: { a: { method: 'roots/list', params: [] } } }, /params/],
    ['a state that is a number', { requestState: 7 }, /requestState is not a string/],
    ['a long state', { requestState: 'x'.repeat(1024 * 1024 + 1) }, /requestState has more than/],
    ['a state without UTF-8', { requestState: '\ud800' }, /no UTF-8 form/],
    ['a long name', { inputRequests: { ['x'.repeat(129)]: question } }, /name of more than 128/],
    [
      'many questions',
      { inputRequests: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [String(n), question])) },
      /more than 32/,
    ],
  ])('is refused with %s', (_name, result, message) => {
    expect(() => readInputRequired(result)).toThrow(refusal(message));
  });
});

describe('a request that answers', () => {
  const request = (params: JsonObject, method = 'tools/call'): Request => ({
    kind: 'request',
    id: 2,
    method,
    params,
  });

  test('is read apart from its answers, and put together', () => {
    const whole = request({ name: 'x', inputResponses: { a: { action: 'accept' } }, requestState: 's' });
    const retry = readRetry(whole);
    expect(retry).toEqual({
      request: request({ name: 'x' }),
      answers: [['a', { action: 'accept' }]],
      state: 's',
    });
    expect(withAnswers(request({ name: 'x' }), retry?.answers ?? [], 's')).toEqual(whole);
    expect(withAnswers(request({ name: 'x' }), [], undefined)).toEqual(request({ name: 'x' }));
  });

  test('is none without an answer or a state, or of another method', () => {
    expect(readRetry(request({ name: 'x' }))).toBeUndefined();
    expect(readRetry(request({ requestState: 's' }, 'tools/list'))).toBeUndefined();
  });

  test.each<[JsonObject, RegExp]>([
    [{ inputResponses: null }, /inputResponses is not an object/],
    [{ inputResponses: [] }, /inputResponses is not an object/],
    [{ requestState: {} }, /requestState is not a string/],
  ])('is refused with %j', (params, message) => {
    expect(() => readRetry(request(params))).toThrow(refusal(message));
  });
});

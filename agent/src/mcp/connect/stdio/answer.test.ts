import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type AnswerServer,
  breakingOff,
  saying,
  startAnswers,
} from '../../../../../test/kit/http/answered.ts';
import { refusal } from '../../../../../test/kit/refusal.ts';
import { answerTo, failureOf, jsonOf } from './answer.ts';

let answers: AnswerServer;
beforeAll(async () => {
  answers = await startAnswers();
});
afterAll(() => answers.close());

const JSON_TYPE = 'application/json';
const STREAM = 'text/event-stream';
const result = (id: number | string) => ({ jsonrpc: '2.0', id, result: { n: id } });

describe('jsonOf', () => {
  test('reads one message', async () => {
    const response = await answers.answer(saying(JSON_TYPE, JSON.stringify(result(7))));
    expect(await jsonOf(response)).toMatchObject({ kind: 'response', id: 7, result: { n: 7 } });
  });

  test.each([undefined, 'text/html', STREAM])('discards a body of type %s', async (type) => {
    const response = await answers.answer(saying(type, 'x'.repeat(100_000)));
    expect(await jsonOf(response)).toBeUndefined();
    await expect.poll(() => response.complete).toBe(true);
  });

  test('lets the end of a body that is discarded be its own affair', async () => {
    const response = await answers.answer(breakingOff('text/html', 'x'));
    expect(await jsonOf(response)).toBeUndefined();
    await expect.poll(() => response.destroyed).toBe(true);
  });

  test('says what is wrong with a body that is whole', async () => {
    const response = await answers.answer(saying(JSON_TYPE, '{"jsonrpc":"1.0"}'));
    const says = /could not be read: the message is not JSON-RPC 2.0; it may have done what was asked$/;
    await expect(jsonOf(response)).rejects.toThrow(refusal('mcp_outcome', says));
  });

  test('says that the connection ended before the end of a body', async () => {
    const response = await answers.answer(breakingOff(JSON_TYPE, '{"jsonrpc":'));
    const says = /^the connection to the gateway ended before the answer/;
    await expect(jsonOf(response)).rejects.toThrow(refusal('mcp_outcome', says));
  });

  test('says that a body is too large, and reads no more of it', async () => {
    const response = await answers.answer((_req, res) => {
      res.writeHead(200, { 'content-type': JSON_TYPE, 'content-length': 16 * 1024 * 1024 + 1 });
      res.write('{');
    });
    await expect(jsonOf(response)).rejects.toThrow(refusal('mcp_outcome', /was larger than 16 MiB/));
    expect(response.destroyed).toBe(true);
  });
});

describe('answerTo', () => {
  test.each([
    ['a body', JSON_TYPE, JSON.stringify(result('own'))],
    ['a stream', STREAM, `data: ${JSON.stringify(result('own'))}\n\n`],
    [
      'a stream with other messages in it',
      STREAM,
      [{ jsonrpc: '2.0', method: 'notifications/message' }, result('other'), result('own')]
        .map((message) => `id: 1\ndata: ${JSON.stringify(message)}\n\n`)
        .join('data: no JSON\n\n'),
    ],
  ])('finds the answer in %s', async (_name, type, body) => {
    const answer = await answerTo('own', await answers.answer(saying(type, body)));
    expect(answer).toMatchObject({ id: 'own', result: { n: 'own' } });
  });

  test.each([
    ['a stream without it', 200, STREAM, `data: ${JSON.stringify(result('other'))}\n\n`],
    ['a call', 200, JSON_TYPE, '{"jsonrpc":"2.0","id":"own","method":"ping"}'],
    ['a page', 503, 'text/html', '<p>'],
  ])('refuses %s with the status', async (_name, status, type, body) => {
    const response = await answers.answer(saying(type, body, status));
    const says = new RegExp(`^the session was lost; initialize gave HTTP ${status}$`);
    await expect(answerTo('own', response)).rejects.toThrow(refusal('mcp_upstream', says));
  });
});

test.each([
  ['a refusal in its own words', new IdentityError('wrong_peer', 'the gateway is x'), 'the gateway is x'],
  ['anything else as a failure of ours', new TypeError('no'), 'connect failed: TypeError: no'],
])('a client gets %s', (_name, error, message) => {
  expect(failureOf(7, error)).toMatchObject({ id: 7, error: { code: -31502, message } });
});

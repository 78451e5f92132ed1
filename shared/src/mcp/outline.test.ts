import { expect, test } from 'vitest';
import { utf8 } from '../ground/bytes.ts';
import { answeredIn, answersNameless, askedIn, OutlineReader, outlinesOf } from './outline.ts';

const deep = `${'['.repeat(500)}${']'.repeat(500)}`;

test.each([
  ['an answer with its id first', '{"jsonrpc":"2.0","id":7,"result":{"id":8}}', [7]],
  ['an answer with its id last', '{"result":{"a":["id",9]},"jsonrpc":"2.0","id":"x"}', ['x']],
  ['an answer that nests too deep', `{"jsonrpc":"2.0","result":{"a":${deep}},"id":7}`, [7]],
  ['an answer that is cut off', '{"jsonrpc":"2.0","id":7,"result":{"text":"abc', [7]],
  ['a text that looks like an id', '{"jsonrpc":"2.0","id":7,"result":"\\",\\"id\\":9,"}', [7]],
  ['an id that comes twice', '{"jsonrpc":"2.0","id":1,"id":2,"result":{}}', [1, 2]],
  ['an error', '{"jsonrpc":"2.0","id":-3,"error":{}}', [-3]],
  ['a batch', '[{"jsonrpc":"2.0","id":1,"result":{}}, {"jsonrpc":"2.0","id":2,"result":[{"id":3}]}]', [1, 2]],
  ['an answer without its version', '{"id":7,"result":{"level":30}}', [7]],
  ['a line of a log', '{"level":30,"id":7,"error":"boom"}', []],
  ['a line of a log before an answer', '[{"level":30,"id":7,"result":{}},{"id":8,"result":{}}]', [8]],
  ['an error without its version', '{"id":7,"error":{"code":1}}', [7]],
  ['an error of a log', '{"id":7,"error":"db: no row"}', []],
  ['no error of a log', '{"error":null,"id":7}', []],
  ['a result of a log', '{"id":7,"result":"created"}', []],
  ['a list of results of a log', '[{"id":7,"result":2}]', []],
  ['a list of a result, in a log', '{"id":7,"result":[{"a":{}}]}', []],
  ['an object and more, in a log', '{"id":7,"result":{}3}', []],
  ['two objects in one line of a log', '{"id":7,"result":{}}{"level":3}', []],
  ['a line of a log with a tail', '{"id":7,"result":{}}, took 3 ms', []],
  ['a line of a log that is cut off', '{"id":7,"error":{"a":1},', []],
  ['an answer and a tail', '{"jsonrpc":"2.0","id":7,"result":{}},', [7]],
  ['a result of nothing', '{"result":{}}', []],
  ['a request', '{"jsonrpc":"2.0","id":7,"method":"ping"}', []],
  ['an answer whose id is no id', '{"jsonrpc":"2.0","id":1.5,"result":{}}', []],
  ['an answer with a long id', `{"jsonrpc":"2.0","id":"${'x'.repeat(5_000)}","result":{}}`, []],
  ['no JSON', 'Listening on "stdio": {ready', []],
])('%s, in one piece and byte by byte', (_name, text, ids) => {
  const bytes = utf8(text);
  expect(answeredIn(outlinesOf(bytes))).toEqual(ids);
  const reader = new OutlineReader();
  for (let at = 0; at < bytes.length; at += 1) reader.push(bytes.subarray(at, at + 1));
  expect(answeredIn(reader.finish())).toEqual(ids);
});

test.each([
  ['an error', '{"jsonrpc":"2.0","id":null,"error":{}}', true],
  ['an answer whose id is no id', '{"jsonrpc":"2.0","id":1.5,"result":{}}', true],
  ['an error without its version', '{"id":null,"error":{}}', true],
  ['a line of a log', '{"id":null,"error":"boom"}', false],
  ['an answer', '{"jsonrpc":"2.0","id":7,"result":{}}', false],
  ['a request', '{"jsonrpc":"2.0","id":null,"method":"x","error":{}}', false],
])('an answer that names no request: %s', (_name, text, expected) => {
  expect(answersNameless(outlinesOf(utf8(text)))).toBe(expected);
});

test.each([
  ['a request', '{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":"\\x"}}', [7]],
  ['what has an id and nothing else', '{"id":7}', [7]],
  ['a request whose id is a fraction', '{"jsonrpc":"2.0","id":1.5,"method":"x"}', [undefined]],
  ['a request whose id is null', '{"jsonrpc":"2.0","id":null,"method":"x"}', [undefined]],
  ['an answer', '{"jsonrpc":"2.0","id":7,"result":1}', []],
  ['an answer without its version', '{"id":7,"result":1}', []],
  ['a notification', '{"jsonrpc":"2.0","method":"x"}', []],
])('asks for an answer: %s', (_name, text, ids) => {
  expect(askedIn(outlinesOf(utf8(text)))).toEqual(ids);
});

import { expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { utf8 } from '../ground/bytes.ts';
import { MAX_RECORD_BYTES, readCallRecord } from './call-record.ts';

const genuine = {
  id: '5c1f',
  stage: 'decided',
  time: '2026-06-01T12:00:00.000Z',
  server: 'everything',
  caller: 'spiffe://prod.example/agents/triage',
  requestId: 7,
  allow: true,
  latencyMs: 12.345678901234567,
};
const read = (value: unknown) => readCallRecord(utf8(JSON.stringify(value)));

test('a record is read as it is', () => {
  expect(read(genuine)).toEqual(genuine);
  const about = { tool: 'echo', resource: 'file:///a', prompt: 'greet', outcome: 'result', count: 2 };
  expect(read({ ...genuine, ...about })).toEqual({ ...genuine, ...about });
  expect(read({ ...genuine, requestId: 'seven' })).toMatchObject({ requestId: 'seven' });
});

test.each<[string, unknown, RegExp]>([
  ['a field that no record has', { ...genuine, operator: 'root' }, /no field operator/],
  ['a field of another type', { ...genuine, allow: 'yes' }, /no field allow/],
  ['a field that is an object', { ...genuine, reason: {} }, /no field reason/],
  ['a field that is null', { ...genuine, reason: null }, /no field reason/],
  ['no id', { ...genuine, id: undefined }, /needs its id/],
  ['an empty server', { ...genuine, server: '' }, /needs its id, time and server/],
  ['a time of a zone', { ...genuine, time: '2026-06-01T12:00:00+02:00' }, /RFC 3339/],
  ['a stage that is not known', { ...genuine, stage: 'allowed' }, /stage/],
  ['a list', [genuine], /not a JSON object|deep/],
  ['too many bytes', { ...genuine, reason: 'x'.repeat(MAX_RECORD_BYTES) }, /at most 32768/],
])('I119 %s', (_name, spoiled, says) => {
  expect(() => read(spoiled)).toThrow(refusal('message_parse', says));
});

const inClear = { '/repo': 'acme/x', '/n': '3' };

test('arguments in clear are texts by JSON Pointer', () => {
  expect(read({ ...genuine, arguments: inClear })).toEqual({ ...genuine, arguments: inClear });
});

test.each<[string, unknown, RegExp]>([
  ['a list', ['acme/x'], /a few texts/],
  ['null', null, /a few texts/],
  ['a text', 'acme/x', /no field arguments/],
  ['a number in it', { ...inClear, '/n': 3 }, /a few texts/],
  ['an object in it', { ...inClear, '/n': {} }, /more than 2 deep/],
  ['a name that is no pointer', { ...inClear, repo: 'x' }, /a few texts/],
  ['an empty name', { ...inClear, '': 'x' }, /a few texts/],
  [
    'more than a gateway writes',
    Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`/${n}`, ''])),
    /a few/,
  ],
])('I240 arguments that are %s', (_name, spoiled, says) => {
  expect(() => read({ ...genuine, arguments: spoiled })).toThrow(refusal('message_parse', says));
});

test.each<[string, object]>([
  ['a count below one', { count: -5 }],
  ['a count that is not whole', { count: 1.5 }],
  ['a latency below zero', { latencyMs: -1 }],
  ['a latency without end', { latencyMs: 1e300 }],
  ['a code beyond 32 bits', { rpcCode: 2 ** 31 }],
  ['an id that is not whole', { requestId: 7.5 }],
  ['bytes beyond what a number counts', { bytes: 2 ** 60 }],
  ['a policy below zero', { policyVersion: -1 }],
  ['a beginning that is not a time', { since: 'x' }],
  ['an hour that no day has', { time: '2026-06-01T29:00:00.000Z' }],
])('I174 %s', (_name, spoiled) => {
  const genuineToo = { count: 1, rpcCode: -31403, bytes: 0, policyVersion: 0, since: genuine.time };
  expect(read({ ...genuine, ...genuineToo })).toMatchObject(genuineToo);
  expect(() => read({ ...genuine, ...spoiled })).toThrow(refusal('message_parse', /of a record is not/));
});

test.each([
  ['the same field twice', `{"id":"a",${JSON.stringify(genuine).slice(1)}`],
  ['a cut', JSON.stringify(genuine).slice(0, -2)],
  ['bytes after it', `${JSON.stringify(genuine)}{}`],
])('I119 %s', (_name, text) => {
  expect(() => readCallRecord(utf8(text))).toThrow(refusal('message_parse', /./));
});

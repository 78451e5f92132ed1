import { expect, test } from 'vitest';
import { utf8 } from '../ground/bytes.ts';
import { answeredIn, type Outline } from './outline.ts';
import { carriesMessage, lastEventHeader, type SseEvent, SseReader, writeEvent } from './sse.ts';

function read(chunks: readonly (string | Uint8Array)[], maxBytes = 1_000): string[] {
  const seen: string[] = [];
  const text = (event: SseEvent): string =>
    JSON.stringify({
      ...event,
      data: event.data === undefined ? undefined : Buffer.from(event.data).toString(),
    });
  const sink = {
    onEvent: (event: SseEvent) => seen.push(text(event)),
    onComment: () => seen.push('comment'),
    onTooLarge: (outlines: readonly Outline[]) => seen.push(`too large: ${answeredIn(outlines)}`),
  };
  const reader = new SseReader(sink, maxBytes);
  for (const chunk of chunks) reader.push(typeof chunk === 'string' ? utf8(chunk) : chunk);
  return seen;
}

const stream =
  'id: 1\nevent: message\ndata: {"a":1}\n\n: alive\n\ndata: x\ndata: y\n\nretry: 50\nid: 2\ndata\n\n';
const expected = [
  '{"id":"1","event":"message","data":"{\\"a\\":1}"}',
  'comment',
  '{"data":"x\\ny"}',
  '{"id":"2","retry":50,"data":""}',
];

test.each([
  ['in one piece', [stream]],
  ['byte by byte', [...stream]],
  ['with CR LF', [stream.replaceAll('\n', '\r\n')]],
  ['with CR LF byte by byte', [...stream.replaceAll('\n', '\r\n')]],
  ['with CR', [stream.replaceAll('\n', '\r')]],
  ['without the space', [stream.replaceAll(': ', ':')]],
])('reads a stream %s', (_name, chunks) => {
  expect(read(chunks)).toEqual(expected);
});

test('gives each event as soon as its last line is there', () => {
  expect(read(['data: 1\n'])).toEqual([]);
  expect(read(['data: 1\n', '\n'])).toEqual(['{"data":"1"}']);
});

test('ignores unknown fields, ids and retries that are none', () => {
  expect(read(['foo: 1\nid: a\0b\nretry: 1s\nid: a\x1bb\ndata: x\n\n'])).toEqual(['{"data":"x"}']);
});

test('an id may be any text that a header can carry, and empty', () => {
  expect(read(['id: a b\ndata: x\n\nid:\ndata: y\n\n'])).toEqual([
    '{"id":"a b","data":"x"}',
    '{"id":"","data":"y"}',
  ]);
  expect(read(['id: é😀\n\n'])).toEqual(['{"id":"é😀"}']);
  expect(Buffer.from(lastEventHeader('é😀'), 'latin1').toString()).toBe('é😀');
});

test.each([
  ['in one piece', ['\ufeffdata: 1\n\n']],
  ['byte by byte', [[0xef], [0xbb], [0xbf], [...utf8('data: 1\n\n')]].map((each) => Uint8Array.from(each))],
])('a byte order mark at the beginning is skipped %s, one only', (_name, chunks) => {
  expect(read(chunks)).toEqual(['{"data":"1"}']);
  expect(read(['\ufeff\ufeffdata: 1\n\ndata: 2\n\n'])).toEqual(['{"data":"2"}']);
});

test('an event without a type, or with an empty one, carries a message; another type does not', () => {
  const event = { id: undefined, retry: undefined, data: utf8('{}') };
  for (const type of [undefined, '', 'message']) expect(carriesMessage({ ...event, event: type })).toBe(true);
  expect(carriesMessage({ ...event, event: 'endpoint' })).toBe(false);
  expect(carriesMessage({ ...event, event: undefined, data: new Uint8Array() })).toBe(false);
});

test('an event with nothing in it is none', () => {
  expect(read(['event: ping\n\n\n\n'])).toEqual([]);
});

const answer = '{"result":{"text":"x"},"jsonrpc":"2.0","id":7}';

test.each([
  ['one long line', [`data: ${'x'.repeat(1_000)}\n\n`], ''],
  ['a line in many pieces', [...Array(200).fill('data: x'), '\n\n'], ''],
  ['many lines of one event', [...Array(200).fill('data: x\n'), '\n'], ''],
  ['an answer', [`data: ${answer.replace('x', 'x'.repeat(1_000))}\n`, '\n'], '7'],
  ['an answer in bytes', [...`data: ${answer.replace('x', 'x'.repeat(1_000))}\n\n`], '7'],
])('skips %s that is too large, tells whose it was, and goes on', (_name, chunks, ids) => {
  expect(read([...chunks, 'data: 1\n\n'])).toEqual([`too large: ${ids}`, '{"data":"1"}']);
});

test('an event that is too large keeps its place in the stream', () => {
  expect(read([`id: 3\ndata: ${'x'.repeat(1_000)}\n\n`])).toEqual(['{"id":"3"}', 'too large: ']);
});

test('an event may have as many bytes as the limit says', () => {
  expect(read([`data: ${'x'.repeat(994)}\n\n`])).toHaveLength(1);
});

test('many comments and many events are no large event', () => {
  expect(read(Array(500).fill(': alive\n\n'))).toHaveLength(500);
  expect(read(Array(500).fill('data: x\n\n'))).toHaveLength(500);
});

test('writes what it reads', () => {
  const written =
    writeEvent({ id: '7', retry: 10 }, '{}') + writeEvent({ id: '8', retry: undefined }, undefined);
  expect(read([written])).toEqual([
    '{"id":"7","event":"message","retry":10,"data":"{}"}',
    '{"id":"8","data":""}',
  ]);
});

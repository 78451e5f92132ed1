import { expect, test } from 'vitest';
import { utf8 } from '../bytes.ts';
import { type SseEvent, SseReader, writeEvent } from './sse.ts';

function read(chunks: readonly string[], maxBytes = 1_000): string[] {
  const seen: string[] = [];
  const text = (event: SseEvent): string =>
    JSON.stringify({
      ...event,
      data: event.data === undefined ? undefined : Buffer.from(event.data).toString(),
    });
  const sink = {
    onEvent: (event: SseEvent) => seen.push(text(event)),
    onComment: () => seen.push('comment'),
  };
  const reader = new SseReader(sink, maxBytes);
  for (const chunk of chunks) reader.push(utf8(chunk));
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
  expect(read(['foo: 1\nid: a b\nretry: 1s\nid: é\ndata: x\n\n'])).toEqual(['{"data":"x"}']);
});

test('an event with nothing in it is none', () => {
  expect(read(['event: ping\n\n\n\n'])).toEqual([]);
});

test.each([
  ['one long line', [`data: ${'x'.repeat(1_000)}`]],
  ['a line that never ends', Array(200).fill('data: x')],
  ['many lines of one event', Array(200).fill('data: x\n')],
])('refuses %s', (_name, chunks) => {
  expect(() => read(chunks)).toThrow(expect.objectContaining({ code: 'mcp_size' }));
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

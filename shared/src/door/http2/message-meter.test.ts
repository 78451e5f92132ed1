import { expect, test } from 'vitest';
import { framed } from '../../../../test/kit/flood/stranger.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { MessageMeter } from './message-meter.ts';

const BOUNDS = { maxBytes: 9, libraryBytes: 20 };

test.each([
  ['a whole message', [framed(new Uint8Array(3))], { begun: true, unfinished: 0 }],
  ['an empty message', [framed(new Uint8Array())], { begun: true, unfinished: 0 }],
  ['a part of a head', [new Uint8Array(4)], { begun: false, unfinished: 4 }],
  ['a part of a message', [framed(new Uint8Array(3), 9)], { begun: false, unfinished: 8 }],
  ['its rest', [framed(new Uint8Array(3), 5), new Uint8Array(2)], { begun: true, unfinished: 0 }],
  [
    'a message and the head of the next one',
    [Buffer.concat([framed(new Uint8Array(3)), framed(new Uint8Array(), 7)])],
    { begun: true, unfinished: 5 },
  ],
])('%s is counted', (_, chunks, expected) => {
  const meter = new MessageMeter(BOUNDS);
  expect(chunks.map((chunk) => meter.take(chunk)).at(-1)).toEqual(expected);
});

test('a message over its bound is refused by its head, however the head is cut', () => {
  const meter = new MessageMeter(BOUNDS);
  const head = framed(new Uint8Array(), 10);
  for (const byte of head.subarray(0, 4)) meter.take(Uint8Array.of(byte));
  expect(() => meter.take(head.subarray(4))).toThrow(
    refusal('message_size', /^a message of 10 bytes; 9 are allowed$/),
  );
});

test('a message that grpc-js refuses by its head is left to it', () => {
  const meter = new MessageMeter(BOUNDS);
  expect(meter.take(framed(new Uint8Array(), 21))).toEqual({ begun: false, unfinished: 5 });
});

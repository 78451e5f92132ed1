import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { writeEvent } from '@chancery/shared/mcp/sse.ts';
import { describe, expect, test } from 'vitest';
import { EventTail } from './event-tail.ts';

const NOWHERE = { id: undefined, retry: undefined };
const event = (message: object, id?: string): string =>
  writeEvent({ ...NOWHERE, id }, JSON.stringify({ jsonrpc: '2.0', ...message }));
const mark = (id: string): string => writeEvent({ ...NOWHERE, id }, undefined);
const answer = (id: number | string, text = ''): string => event({ id, result: { text } });

/** In one piece, byte by byte, and cut once at each place: the tail is the same. */
function tails(text: string): readonly EventTail[] {
  const bytes = utf8(text);
  const cut = (...at: number[]): EventTail => {
    const tail = new EventTail();
    for (const [index, start] of [0, ...at].entries())
      tail.push(bytes.subarray(start, at[index] ?? bytes.length));
    return tail;
  };
  const everywhere = Array.from({ length: Math.max(0, bytes.length - 1) }, (_, n) => n + 1);
  return [cut(), cut(...everywhere), ...everywhere.slice(-8).map((at) => cut(at))];
}

describe('the place of a stream', () => {
  test.each<[string, string, string | undefined]>([
    ['is none before an event with an id', answer(1), undefined],
    ['is the id of the last event', mark('e1') + event({ method: 'x' }, 'é2'), 'é2'],
    ['stays over events without one', mark('e1') + event({ method: 'x' }), 'e1'],
    ['is none after an empty id', mark('e1') + mark(''), undefined],
    ['is not that of an event that is not whole', `${mark('e1')}id: e2\ndata: {`, 'e1'],
    ['is not what a message says', mark('e1') + event({ method: '\nid: e9\n' }), 'e1'],
  ])('%s', (_name, text, place) => {
    for (const tail of tails(text)) expect(tail.place).toBe(place);
  });
});

describe('a stream answers a request', () => {
  test.each<[string, string, boolean]>([
    ['with its result', answer(7), true],
    ['with an error', event({ id: 7, error: {} }), true],
    ['and then marks a place', answer(7) + mark('e1'), true],
    ['with half a result: not yet', answer(7).slice(0, -2), false],
    ['with the answer to another one: no', answer(8), false],
    ['with a request of that id: no', event({ id: 7, method: 'ping' }), false],
    ['before another message: no longer the last', answer(7) + event({ method: 'x' }), false],
  ])('%s', (_name, text, answered) => {
    for (const tail of tails(text)) expect(tail.answers(7)).toBe(answered);
  });

  test('with an id that is text', () => {
    for (const tail of tails(answer('7')))
      expect([tail.answers('7'), tail.answers(7)]).toEqual([true, false]);
  });

  test('of which at most 8 KiB are kept', () => {
    const tail = new EventTail();
    const text = answer(7, 'x'.repeat(1 << 20));
    for (let at = 0; at < text.length; at += 1_000) tail.push(utf8(text.slice(at, at + 1_000)));
    expect(tail.answers(7)).toBe(true);
    // What comes after those has no part in it.
    const late = new EventTail();
    late.push(utf8(`event: message\ndata: {"result":{"text":"${'x'.repeat(8 * 1024)}"},"id":7}\n\n`));
    expect(late.answers(7)).toBe(false);
  });
});

describe('an event that is given up', () => {
  test.each<[string, string, string]>([
    ['in a line', 'event: message\ndata: {"a', '\nevent: cut\n\n'],
    ['at the end of a line', 'event: message\n', 'event: cut\n\n'],
    ['that is whole', answer(7), ''],
    ['that has not begun', '', ''],
  ])('%s ends as one of another type', (_name, text, end) => {
    for (const tail of tails(text)) expect(tail.giveUpEvent()).toBe(end);
  });

  test('leaves nothing behind', () => {
    const tail = new EventTail();
    tail.push(utf8('id: e1\nda'));
    tail.giveUpEvent();
    expect(tail.giveUpEvent()).toBe('');
    tail.push(utf8('\n'));
    expect(tail.place).toBeUndefined();
    tail.push(utf8(`\n${mark('e2')}`));
    expect(tail.place).toBe('e2');
  });
});

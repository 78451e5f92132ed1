/** MCP's event streams and lines. */
import { isDeepStrictEqual } from 'node:util';
import { LineReader } from '@chancery/agent/mcp/wire/lines.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { type SseEvent, SseReader, writeEvent } from '@chancery/shared/mcp/sse.ts';
import { law, type Target } from '../../engine.ts';

const EVENT_BYTES = 32 * 1024;

const sse: Target = {
  name: 'sse',
  says: 'event streams: the same events in whatever pieces they come, and written again',
  shape: 'json',
  open: () => ({
    seeds: [
      'id: 7\nevent: message\ndata: {"a":1}\n\n',
      ':\n\ndata: one\ndata: two\r\n\r\nretry: 30\n\n',
      'data:x\rid:y\r\r: comment\ndata\n\nevent: ping\n\n',
    ].map(utf8),
    run: (input) => {
      const whole = eventsIn([input]);
      // A stream byte by byte, and one cut in two: the sender chooses.
      const pieces = input.length < 512 ? [...input].map((byte) => Uint8Array.of(byte)) : [input];
      law(isDeepStrictEqual(eventsIn(pieces), whole), 'other events come in pieces');
      const middle = input.length >> 1;
      law(
        isDeepStrictEqual(eventsIn([input.subarray(0, middle), input.subarray(middle)]), whole),
        'other events come in two pieces',
      );
      for (const each of whole) ensureSameWritten(each);
      return undefined;
    },
  }),
};

function eventsIn(chunks: readonly Uint8Array[]): readonly SseEvent[] {
  const events: SseEvent[] = [];
  const sink = { onEvent: (each: SseEvent) => events.push(each), onComment: () => {}, onTooLarge: () => {} };
  const reader = new SseReader(sink, EVENT_BYTES);
  for (const chunk of chunks) reader.push(chunk);
  return events.map((each) => ({ ...each, data: each.data && Uint8Array.from(each.data) }));
}

/** What is passed on is JSON on one line; its text is not of interest here. */
function ensureSameWritten({ id, retry, data }: SseEvent): void {
  const [again, ...more] = eventsIn([utf8(writeEvent({ id, retry }, data && '{"a":1}'))]);
  law(again !== undefined && more.length === 0, 'an event is not one event when it is written');
  law(again.id === id && again.retry === retry, 'an event has another id when it is written');
}

const lines: Target = {
  name: 'mcp-lines',
  says: 'lines of MCP over stdio, in whatever pieces they come',
  shape: 'json',
  open: () => ({
    seeds: [utf8('{"a":1}\n{"b":2}\n\n{"c"'), utf8('\n\n\nx\n')],
    run: (input) => {
      const whole = linesIn([input]);
      const middle = input.length >> 1;
      law(
        isDeepStrictEqual(linesIn([input.subarray(0, middle), input.subarray(middle)]), whole),
        'other lines come in pieces',
      );
      const theirs = Buffer.from(input)
        .toString('latin1')
        .split('\n')
        .slice(0, -1)
        .filter((line) => line !== '' && line.length <= EVENT_BYTES);
      law(isDeepStrictEqual(whole, theirs), 'lines are not what is between line feeds');
      return undefined;
    },
  }),
};

function linesIn(chunks: readonly Uint8Array[]): readonly string[] {
  const found: string[] = [];
  const reader = new LineReader(
    (line) => found.push(Buffer.from(line).toString('latin1')),
    EVENT_BYTES,
    () => {},
  );
  for (const chunk of chunks) reader.push(chunk);
  return found;
}

export const MCP_STREAMS: readonly Target[] = [sse, lines];

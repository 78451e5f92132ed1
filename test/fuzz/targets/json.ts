/** JSON, and MCP's messages, events and lines. */
import { isDeepStrictEqual } from 'node:util';
import { READERS } from '@chancery/agent/mcp/gateway/judge/readers.ts';
import { LineReader } from '@chancery/agent/mcp/wire/lines.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { parseJson } from '@chancery/shared/ground/json.ts';
import { ensureModern, eraOf, headersFor } from '@chancery/shared/mcp/era.ts';
import { type Message, readMessage, writeMessage } from '@chancery/shared/mcp/message.ts';
import { filterTools, narrowServer } from '@chancery/shared/mcp/results.ts';
import { type SseEvent, SseReader, writeEvent } from '@chancery/shared/mcp/sse.ts';
import { law, type Target } from '../engine.ts';

const LIMITS = { code: 'mcp_parse', maxBytes: 64 * 1024, maxDepth: 64 } as const;

const TEXTS = [
  '{"a":[1,-2.5e3,true,null,"\\u00e9\\n"],"b":{"__proto__":{"c":1}},"n":12345678901234567890}',
  '[0.1,1e400,-0,"\\ud83d\\ude00",{"":""}]',
  ' {"large": 900719925474099312345, "small": 5e-324, "exact": 0.30000000000000004 } ',
  '"text"',
];

const json: Target = {
  name: 'json',
  says: 'strict JSON: what is read is written and read again as the same, and JSON.parse agrees',
  shape: 'json',
  open: () => ({
    seeds: TEXTS.map(utf8),
    run: (input) => {
      const value = parseJson(input, LIMITS);
      const written = JSON.stringify(value);
      const again = parseJson(utf8(written), { ...LIMITS, maxBytes: LIMITS.maxBytes * 6 });
      law(JSON.stringify(again) === written, 'it is another value when it is read again');
      // Both lose digits of long numbers here, the same ones.
      const [theirs, ours] = [Buffer.from(input).toString('utf8'), written].map((text) => JSON.parse(text));
      law(
        isDeepStrictEqual(withoutMinusZero(theirs), withoutMinusZero(ours)),
        'JSON.parse reads another value',
      );
      return undefined;
    },
  }),
};

/** JSON.stringify writes -0 as 0. */
const withoutMinusZero = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

const MODERN = {
  _meta: {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': { roots: {} },
  },
};
const MESSAGES: readonly object[] = [
  { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'query', arguments: { sql: 'select 1' } } },
  { jsonrpc: '2.0', id: 'a', method: 'tools/call', params: { name: 'é query', arguments: {}, ...MODERN } },
  { jsonrpc: '2.0', id: 2, method: 'resources/read', params: { uri: 'file:///a b', ...MODERN } },
  {
    jsonrpc: '2.0',
    id: 3,
    method: 'initialize',
    params: { protocolVersion: '2025-11-25', capabilities: { sampling: {} } },
  },
  { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } },
  {
    jsonrpc: '2.0',
    id: 1,
    result: {
      tools: [{ name: 'query', inputSchema: { type: 'object' } }],
      ttlMs: 5,
      capabilities: { tools: {}, logging: {} },
    },
  },
  { jsonrpc: '2.0', id: null, error: { code: -32600, message: 'no', data: [1] } },
];

const message: Target = {
  name: 'mcp-message',
  says: 'MCP messages: read, judged, narrowed, written and read again',
  shape: 'json',
  open: () => ({
    seeds: MESSAGES.map((each) => utf8(JSON.stringify(each))),
    run: (input) => {
      const read = readMessage(input, LIMITS.maxBytes);
      const written = writeMessage(read);
      law(
        writeMessage(readMessage(utf8(written), LIMITS.maxBytes * 6)) === written,
        'it is another message when it is read again',
      );
      lookInto(read);
      return undefined;
    },
  }),
};

const ALL = { instructions: true, logs: true };

function lookInto(read: Message): void {
  const headers = headersFor(read);
  const own = {
    version: headers['mcp-protocol-version'],
    method: headers['mcp-method'],
    name: headers['mcp-name'],
  };
  law(
    eraOf(read, own.version) === 'legacy' || own.version !== undefined,
    'a modern message has headers without a version',
  );
  if (read.kind === 'response' && read.result !== undefined) {
    narrowServer(read.result, 'legacy', ALL);
    if (read.result['tools'] !== undefined) filterTools(read.result, (tool) => tool.startsWith('q'));
  }
  if (own.version !== undefined) ensureModern(read, own);
  if (read.kind !== 'request') return;
  for (const era of ['legacy', 'modern'] as const) {
    const reading = READERS.get(read.method)?.(read, { era, freeText: ALL });
    if (reading !== undefined) writeMessage(reading.forwarded);
  }
}

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

export const JSON_TARGETS: readonly Target[] = [json, message, sse, lines];

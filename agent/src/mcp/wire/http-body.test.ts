import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { Readable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import {
  chosenHeaders,
  ensureJson,
  header,
  isEventStream,
  isJson,
  readBody,
  type Weigh,
} from './http-body.ts';

const messageOf = (pieces: Iterable<Buffer>, headers = {}): IncomingMessage =>
  Object.assign(Readable.from(pieces, { objectMode: false }), {
    headers,
    complete: true,
  }) as unknown as IncomingMessage;

function* times(count: number, piece: () => Buffer): Generator<Buffer> {
  for (let n = 0; n < count; n += 1) yield piece();
}

/** What is counted now, and the most that ever was. */
function scales() {
  const at = { now: 0, most: 0, lose: (_: IdentityError): void => {} };
  const weigh: Weigh = (lose) => {
    at.lose = lose;
    return {
      add: (bytes) => {
        at.now += bytes;
        at.most = Math.max(at.most, at.now);
      },
      free: () => {
        at.now = 0;
      },
    };
  };
  return { at, weigh };
}

describe('a body', () => {
  test.each([
    ['in one piece', ['{"a":1}']],
    ['in several', ['{', '"a"', ':', '1}']],
    ['that is empty', []],
  ])('%s is read as it came', async (_, pieces) => {
    const { at, weigh } = scales();
    const message = messageOf(pieces.map((piece) => Buffer.from(piece)));
    const body = await readBody(message, 100, weigh);
    expect(String(body)).toBe(pieces.join(''));
    // The owner of the body frees it.
    expect(at.now).toBeGreaterThanOrEqual(body.length);
  });

  test('over the limit is refused, with its head or at the byte too many', async () => {
    const declared = messageOf([], { 'content-length': '11' });
    await expect(readBody(declared, 10)).rejects.toThrow(refusal('mcp_size', /more than 10 bytes/));
    const { at, weigh } = scales();
    const long = messageOf(times(11, () => Buffer.alloc(1)));
    await expect(readBody(long, 10, weigh)).rejects.toThrow(refusal('mcp_size', /more than 10 bytes/));
    expect(at).toMatchObject({ now: 0, most: 10 });
  });

  test('that gives way to another is dropped', async () => {
    const { at, weigh } = scales();
    const pieces = times(3, () => {
      if (at.now > 0) at.lose(new IdentityError('rate', 'gave way'));
      return Buffer.alloc(1);
    });
    await expect(readBody(messageOf(pieces), 10, weigh)).rejects.toThrow(refusal('rate', /gave way/));
    expect(at.now).toBe(0);
  });

  test('in very many pieces holds its bytes and not the pieces', { timeout: 60_000 }, async () => {
    const count = 100_000;
    const { at, weigh } = scales();
    const before = held();
    let grown = 0;
    let seen = 0;
    const pieces = times(count, () => {
      seen += 1;
      if (seen === count) grown = held() - before;
      // As one byte of a larger read.
      return Buffer.allocUnsafeSlow(1024).subarray(0, 1);
    });
    expect(await readBody(messageOf(pieces), 2 * count, weigh)).toHaveLength(count);
    expect(at.most).toBeLessThanOrEqual(2 * count);
    expect(grown).toBeLessThan(200 * count);
  });
});

/** Bytes that are still in use. */
function held(): number {
  setFlagsFromString('--expose_gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** A request with these header lines, as Node reads it. */
async function requestWith(...lines: readonly string[]): Promise<IncomingMessage> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const arrived = once(server, 'request');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => {}).write(['POST / HTTP/1.1', 'host: x', ...lines, '', ''].join('\r\n'));
  const [request] = (await arrived) as [IncomingMessage];
  socket.destroy();
  server.close();
  return request;
}
const JSON_LINE = 'content-type: application/json';

describe('JSON', () => {
  test('is what one Content-Type says, without a coding', async () => {
    ensureJson(await requestWith(JSON_LINE));
    ensureJson(await requestWith('Content-TYPE: application/json; charset=utf-8'));
  });

  test.each<[string, string[], RegExp]>([
    ['no type', [], /^0 Content-Type headers$/],
    ['two types', [JSON_LINE, 'Content-Type: text/plain'], /^2 Content-Type headers$/],
    ['the same type twice', [JSON_LINE, JSON_LINE], /^2 Content-Type headers$/],
    ['another type', ['content-type: text/plain'], /is not application\/json in UTF-8$/],
    ['a coding', [JSON_LINE, 'content-encoding: gzip'], /has a Content-Encoding$/],
    ['the coding that is none', [JSON_LINE, 'content-encoding: identity'], /has a Content-Encoding$/],
  ])('is refused with %s', async (_name, lines, says) => {
    const request = await requestWith(...lines);
    expect(() => ensureJson(request)).toThrow(refusal('mcp_media', says));
  });

  test.each<[string | undefined, boolean]>([
    ['application/json', true],
    ['Application/JSON ; charset="UTF-8"', true],
    ['application/json;charset=utf8;', true],
    ['application/json; profile=x', true],
    ['application/json; charset=utf-16', false],
    ['application/json; charset=utf-8; charset=latin1', false],
    ['application/jsonl', false],
    ['application/json, text/plain', false],
    ['text/json', false],
    [undefined, false],
  ])('has the type %s: %s', (type, expected) => {
    expect(isJson(type)).toBe(expected);
  });
});

test.each<[string | undefined, boolean]>([
  ['text/event-stream', true],
  ['Text/Event-Stream ; charset=utf-8', true],
  ['text/event-streams', false],
  ['x text/event-stream', false],
  [undefined, false],
])('a stream of events has the type %s: %s', (type, expected) => {
  expect(isEventStream(type)).toBe(expected);
});

test('of the headers those are chosen that are named, or begin so', async () => {
  const request = await requestWith(
    'accept: a',
    'mcp-param-a: 1',
    'mcp-param-b: 2',
    'cookie: c',
    'set-cookie: s',
  );
  expect(chosenHeaders(request, ['accept', 'set-cookie'], 'mcp-param-')).toEqual({
    accept: 'a',
    'mcp-param-a': '1',
    'mcp-param-b': '2',
  });
  expect(chosenHeaders(request, ['accept'], undefined)).toEqual({ accept: 'a' });
  expect([header(request, 'accept'), header(request, 'set-cookie'), header(request, 'x')]).toEqual([
    'a',
    undefined,
    undefined,
  ]);
});

import type { Message } from '@chancery/shared/mcp/message.ts';
import { describe, expect, test } from 'vitest';
import { type Answered, isSessionLost, sessionLost } from './session-lost.ts';

const error = (code: number, message: string, id?: number | string): Message => ({
  kind: 'response',
  id,
  result: undefined,
  error: { code, message },
});
const result: Message = { kind: 'response', id: 7, result: {}, error: undefined };
const call: Message = { kind: 'request', id: 7, method: 'ping', params: undefined };
const bytes = (body: unknown): Uint8Array =>
  Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));

type Row = [says: string, lost: boolean, answered: Partial<Answered>];
const rows: readonly Row[] = [
  ['HTTP 404 with nothing', true, { status: 404 }],
  ['HTTP 404 with a page', true, { status: 404, body: bytes('<p>') }],
  ['HTTP 404 with an error that names no request', true, { status: 404, message: error(-32602, 'x') }],
  ['HTTP 404 with an error about another request', true, { status: 404, message: error(-32602, 'x', 8) }],
  ['HTTP 404 with an error about the request', false, { status: 404, message: error(-32602, 'x', 7) }],
  ['HTTP 404 with its id as text', false, { status: 404, message: error(-32602, 'x', '7') }],
  ['HTTP 404 with the code of it', true, { status: 404, message: error(-32001, 'x', 7) }],
  ['HTTP 404 with words of it', true, { status: 404, message: error(-32602, 'Session gone', 7) }],
  ['HTTP 404 to a notification', true, { status: 404, id: undefined, message: error(-32602, 'x', 7) }],
  [
    'HTTP 404 with a body that speaks of the request',
    false,
    { status: 404, body: bytes({ id: 7, error: { code: 2 ** 40, message: 'x' } }) },
  ],
  [
    'HTTP 404 with a body that is not its error',
    true,
    { status: 404, body: bytes({ id: 7, error: { code: 'x' } }) },
  ],
  [
    'HTTP 404 with an error too large to look at',
    true,
    { status: 404, body: bytes({ id: 7, error: { code: 1, message: 'x'.repeat(64 * 1024) } }) },
  ],
  ['HTTP 400 with nothing', true, { status: 400 }],
  ['HTTP 400 with a sentence of it', true, { status: 400, body: bytes('Missing SESSION id') }],
  ['HTTP 400 with another sentence of it', true, { status: 400, body: bytes('Server not initialized') }],
  ['HTTP 400 with a sentence of something else', false, { status: 400, body: bytes('Bad version') }],
  ['HTTP 400 with more than a sentence', false, { status: 400, body: bytes(`session${' '.repeat(1_024)}`) }],
  ['HTTP 400 with an error of it', true, { status: 400, message: error(-32000, 'No valid session ID') }],
  ['HTTP 400 with its other code', true, { status: 400, message: error(-32001, 'session', 7) }],
  ['HTTP 400 with another code', false, { status: 400, message: error(-32602, 'session') }],
  ['HTTP 400 with other words', false, { status: 400, message: error(-32000, 'bad version') }],
  [
    'HTTP 400 with an error of another code after a byte order mark',
    false,
    { status: 400, body: bytes(`\ufeff${JSON.stringify({ error: { code: -32602, message: 'session' } })}`) },
  ],
  ['HTTP 400 with a call', false, { status: 400, message: call }],
  ['HTTP 400 with a result', false, { status: 400, message: result }],
  ['HTTP 200', false, { status: 200, message: error(-32001, 'session') }],
  ['HTTP 500', false, { status: 500, message: error(-32001, 'session') }],
];

describe('a session', () => {
  test.each(rows)('by %s is lost: %s', (_says, lost, answered) => {
    expect(isSessionLost({ status: 0, message: undefined, id: 7, ...answered })).toBe(lost);
  });

  test('that is lost is said with what clients look for', () => {
    expect(sessionLost()).toMatchObject({ id: undefined, error: { code: -32001 } });
    expect(isSessionLost({ status: 404, message: sessionLost(), id: 7 })).toBe(true);
  });
});

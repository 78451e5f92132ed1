import type { IncomingMessage } from 'node:http';
import { expect, test } from 'vitest';
import { ensureAccepts, readHead } from './head.ts';

const head = (headers: IncomingMessage['headers'], method = 'POST') =>
  readHead({ method, headers } as IncomingMessage);

test('the head is read once, into names', () => {
  const headers = {
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': 'echo',
    'mcp-session-id': 's',
    'last-event-id': '7',
    'mcp-param-city': 'Rome',
    traceparent: 't',
    tracestate: 'a=b',
    'x-mcp-param-city': 'Milan',
    accept: 'Text/Event-Stream',
    expect: '100-continue',
    'content-length': '12',
  };
  expect(head(headers)).toEqual({
    method: 'POST',
    mcp: { version: '2026-07-28', method: 'tools/call', name: 'echo' },
    session: 's',
    lastEventId: '7',
    accept: 'text/event-stream',
    params: { 'mcp-param-city': 'Rome' },
    trace: { traceparent: 't', tracestate: 'a=b' },
    expects: true,
    bytes: 12,
  });
});

test('what is not there is undefined, and no body is a body of no bytes', () => {
  const mcp = { version: undefined, method: undefined, name: undefined };
  const trace = { traceparent: undefined, tracestate: undefined };
  const absent = { session: undefined, lastEventId: undefined, trace };
  const rest = { accept: '', params: {}, expects: false, bytes: 0 };
  expect(head({}, 'GET')).toEqual({ method: 'GET', mcp, ...absent, ...rest });
});

test('a body in chunks has no known length', () => {
  expect(head({ 'transfer-encoding': 'chunked' }).bytes).toBeUndefined();
});

test('Accept has to list what the answer may be', () => {
  const both = head({ accept: 'application/json, text/event-stream' });
  ensureAccepts(both, 'text/event-stream');
  const refusal = expect.objectContaining({ code: 'mcp_accept' });
  expect(() => ensureAccepts(head({ accept: 'application/json' }), 'text/event-stream')).toThrow(refusal);
  expect(() => ensureAccepts(head({}), 'application/json')).toThrow(refusal);
});

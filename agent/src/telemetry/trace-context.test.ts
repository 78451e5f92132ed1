import type { Request } from '@chancery/shared/mcp/message.ts';
import { expect, test } from 'vitest';
import { carrierOf, parentsOf, withContext } from './trace-context.ts';

const [TRACE, SPAN, OTHER] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7', '00f067aa0ba902b8'];
const traceparent = `00-${TRACE}-${SPAN}-01`;
const request = (meta?: object): Request => ({
  ...{ kind: 'request', id: 1, method: 'ping' },
  params: meta === undefined ? undefined : { a: 1, _meta: { ...meta }, b: 2 },
});

test('the message names its parent, and the HTTP request beside it is linked', () => {
  const headers = { traceparent: `00-${TRACE}-${OTHER}-00`, tracestate: undefined };
  const { parent, ambient } = parentsOf(request({ traceparent, tracestate: 'a=b' }), headers);
  expect(parent).toMatchObject({ traceId: TRACE, spanId: SPAN, traceFlags: 1, isRemote: true });
  expect(parent?.traceState?.serialize()).toBe('a=b');
  expect(ambient).toMatchObject({ traceId: TRACE, spanId: OTHER, traceFlags: 0 });
});

test('the HTTP request alone is the parent, and one that is the same is not linked', () => {
  const headers = { traceparent, tracestate: 'a=b' };
  expect(parentsOf(request(), headers)).toMatchObject({ parent: { spanId: SPAN }, ambient: undefined });
  expect(parentsOf(request({ traceparent }), headers).ambient).toBeUndefined();
  expect(parentsOf(request(), undefined)).toEqual({ parent: undefined, ambient: undefined });
});

test('a later version may be longer, up to a bound', () => {
  const later = (length: number) => request({ traceparent: `01-${TRACE}-${SPAN}-01-${'x'.repeat(length)}` });
  expect(parentsOf(later(10), undefined).parent).toMatchObject({ traceId: TRACE, spanId: SPAN });
  expect(parentsOf(later(300), undefined).parent).toBeUndefined();
});

test.each([
  [30, 'a tracestate of 509 characters is passed on, so that it leaves as it came'],
  [31, 'one of 526 characters is not'],
])('%i members: %s', (members) => {
  const tracestate = Array.from({ length: members }, (_, n) => `k${10 + n}=${'v'.repeat(12)}`).join(',');
  const { parent } = parentsOf(request({ traceparent, tracestate }), undefined);
  expect(parent && carrierOf(parent)).toEqual(
    tracestate.length > 512 ? { traceparent } : { traceparent, tracestate },
  );
});

test('the context replaces that of the message, and nothing else changes', () => {
  const state = carrierOf({ traceId: TRACE, spanId: OTHER, traceFlags: 1 });
  expect(state).toEqual({ traceparent: `00-${TRACE}-${OTHER}-01` });
  const before = request({ progressToken: 1, traceparent, tracestate: 'a=b', baggage: 'c=d' });
  const { params } = withContext(before, state);
  expect(JSON.stringify(params)).toBe(
    JSON.stringify({ a: 1, _meta: { progressToken: 1, baggage: 'c=d', ...state }, b: 2 }),
  );
  expect(withContext(request(), state).params).toEqual({ _meta: state });
  expect(before.params?.['_meta']).toMatchObject({ traceparent });
});

test('a response and a _meta of another type stay as they are', () => {
  const carrier = { traceparent };
  const odd: Request = { ...request(), params: { _meta: 'x' } };
  expect(withContext(odd, carrier)).toBe(odd);
  const answer = { kind: 'response', id: 1, result: {}, error: undefined } as const;
  expect(withContext(answer, carrier)).toBe(answer);
});

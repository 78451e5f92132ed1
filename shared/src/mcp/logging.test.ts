import { expect, test } from 'vitest';
import { levelIn, levelOf, withLevel } from './logging.ts';
import type { Request } from './message.ts';

const KEY = 'io.modelcontextprotocol/logLevel';
const request = (params?: Request['params']): Request => ({ kind: 'request', id: 1, method: 'm', params });

test('the level of a request and of a message', () => {
  expect(levelOf(request({ level: 'info', _meta: {} }))).toBe('info');
  for (const params of [undefined, { level: 1 }, { level: 'info', Level: 'debug' }])
    expect(() => levelOf(request(params))).toThrow(expect.objectContaining({ code: 'mcp_parse' }));
  const message = { kind: 'notification', method: 'notifications/message' } as const;
  expect(
    [{ level: 'info' }, { level: 1 }, undefined].map((params) => levelIn({ ...message, params })),
  ).toEqual(['info', undefined, undefined]);
});

test('a level under _meta is lowered, or left out', () => {
  const asking = request({ _meta: { [KEY]: 'debug', x: 1 } });
  expect(withLevel(asking, (level) => level)).toBe(asking);
  expect(withLevel(asking, () => 'error')).toEqual(request({ _meta: { [KEY]: 'error', x: 1 } }));
  expect(withLevel(asking, () => undefined)).toEqual(request({ _meta: { x: 1 } }));
  expect(withLevel(request({ _meta: { [KEY]: 7 } }), () => 'error')).toEqual(request({ _meta: {} }));
  for (const plain of [request(), request({ _meta: {} })])
    expect(withLevel(plain, () => 'error')).toBe(plain);
});

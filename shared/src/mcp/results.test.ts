import { expect, test } from 'vitest';
import { emptyResult, narrowError, narrowServer } from './results.ts';

const FREE = { instructions: true, logs: true };
/** Log messages alone. */
const none = (kind: string) => kind === 'logging';

test('narrowServer leaves tools and logs, and promises only what can come', () => {
  const tools = { listChanged: true, x: 1 };
  const says = {
    protocolVersion: '2025-11-25',
    capabilities: { tools, prompts: {}, resources: {}, logging: { x: 1 }, experimental: { a: {} } },
    serverInfo: { name: 's' },
    instructions: 'use a',
    _meta: { tools: ['a'] },
    other: 'a',
  };
  const base = { protocolVersion: '2025-11-25', serverInfo: { name: 's' } };
  expect(narrowServer(says, { era: 'legacy', free: FREE, lets: none })).toEqual({
    ...base,
    capabilities: { tools: { listChanged: true }, logging: {} },
    instructions: 'use a',
  });
  expect(
    narrowServer(says, { era: 'modern', free: { instructions: false, logs: false }, lets: none }),
  ).toEqual({
    ...base,
    capabilities: { tools: { listChanged: true } },
  });
  expect(narrowServer({ capabilities: { tools: {} } }, { era: 'modern', free: FREE, lets: none })).toEqual({
    capabilities: { tools: {} },
  });
  expect(narrowServer({ capabilities: { tools: {} } }, { era: 'legacy', free: FREE, lets: none })).toEqual({
    capabilities: { tools: { listChanged: true } },
  });
  expect(narrowServer({ capabilities: { prompts: {} } }, { era: 'legacy', free: FREE, lets: none })).toEqual({
    capabilities: {},
  });
});

test('a result without an error is not narrowed as an error', () => {
  const response = { kind: 'response', id: 1, result: { a: 1 }, error: undefined } as const;
  expect(narrowError(response)).toBe(response);
});

test('an empty result and an error have no room for names', () => {
  expect(emptyResult({ tools: ['a'], _meta: { a: 1 }, resultType: 'complete' })).toEqual({
    resultType: 'complete',
  });
  const error = (data: object) => ({
    kind: 'response' as const,
    id: 1,
    result: undefined,
    error: { code: -32602, message: 'no', data: { ...data } },
  });
  expect(narrowError(error({ tools: ['a'] })).error).toEqual({ code: -32602, message: 'no' });
  expect(narrowError(error({ supported: ['2025-11-25'], requested: 'x', tools: ['a'] })).error?.data).toEqual(
    {
      supported: ['2025-11-25'],
      requested: 'x',
    },
  );
});

import { expect, test } from 'vitest';
import { emptyResult, filterTools, narrowError, narrowServer } from './results.ts';

const FREE = { instructions: true, logs: true };

test('filterTools keeps order and cursor, and nothing that the revisions do not define', () => {
  const page = {
    tools: [{ name: 'c', title: 'C', x: 1 }, { name: 'a' }, { name: 'b' }],
    nextCursor: 'n',
    all: ['a'],
    _meta: { hidden: 'a', 'io.modelcontextprotocol/serverInfo': { name: 's' } },
  };
  expect(filterTools(page, (tool) => tool !== 'a')).toEqual({
    tools: [{ name: 'c', title: 'C' }, { name: 'b' }],
    nextCursor: 'n',
    _meta: { 'io.modelcontextprotocol/serverInfo': { name: 's' } },
  });
});

test.each([
  [
    { tools: [], ttlMs: 5, cacheScope: 'public' },
    { tools: [], ttlMs: 5, cacheScope: 'private' },
  ],
  [
    { tools: [], ttlMs: 5 },
    { tools: [], ttlMs: 5, cacheScope: 'private' },
  ],
  [
    { tools: [], cacheScope: 'public' },
    { tools: [], cacheScope: 'private' },
  ],
  [{ tools: [] }, { tools: [] }],
])('filterTools marks %j as private where the era knows caches', (page, expected) => {
  expect(filterTools(page, () => true)).toEqual(expected);
});

test.each([
  ['no tools', {}, /has no tools/],
  ['tools that are an object', { tools: {} }, /has no tools/],
  ['a tool that is a string', { tools: ['echo'] }, /has no name/],
  ['a tool without name', { tools: [{ Name: 'echo' }] }, /has no name/],
])('filterTools refuses %s', (_name, page, message) => {
  expect(() => filterTools(page, () => true)).toThrow(
    expect.objectContaining({ code: 'mcp_parse', message: expect.stringMatching(message) }),
  );
});

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
  expect(narrowServer(says, 'legacy', FREE)).toEqual({
    ...base,
    capabilities: { tools: { listChanged: true }, logging: {} },
    instructions: 'use a',
  });
  expect(narrowServer(says, 'modern', { instructions: false, logs: false })).toEqual({
    ...base,
    capabilities: { tools: { listChanged: true } },
  });
  expect(narrowServer({ capabilities: { tools: {} } }, 'modern', FREE)).toEqual({
    capabilities: { tools: {} },
  });
  expect(narrowServer({ capabilities: { tools: {} } }, 'legacy', FREE)).toEqual({
    capabilities: { tools: { listChanged: true } },
  });
  expect(narrowServer({ capabilities: { prompts: {} } }, 'legacy', FREE)).toEqual({ capabilities: {} });
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

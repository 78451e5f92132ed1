import { expect, test } from 'vitest';
import { filterList, type ListMethod, ofThisCaller } from './lists.ts';

test('a list keeps order and cursor, and nothing that the revisions do not define', () => {
  const page = {
    tools: [{ name: 'c', title: 'C', x: 1 }, { name: 'a' }, { name: 'b' }],
    nextCursor: 'n',
    all: ['a'],
    _meta: { hidden: 'a', 'io.modelcontextprotocol/serverInfo': { name: 's' } },
  };
  expect(filterList('tools/list', page, (tool) => tool !== 'a')).toEqual({
    tools: [{ name: 'c', title: 'C' }, { name: 'b' }],
    nextCursor: 'n',
    _meta: { 'io.modelcontextprotocol/serverInfo': { name: 's' } },
  });
});

test('a page has at most 10,000 entries', () => {
  const pageOf = (length: number) => ({ tools: Array.from({ length }, (_, n) => ({ name: `t${n}` })) });
  expect(filterList('tools/list', pageOf(10_000), () => true)['tools']).toHaveLength(10_000);
  expect(() => filterList('tools/list', pageOf(10_001), () => true)).toThrow(
    'a page of tools/list has 10001 entries, at most 10000 are read',
  );
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
])('%j is marked as private where the era knows caches', (page, expected) => {
  expect(filterList('tools/list', page, () => true)).toEqual(expected);
});

test.each([
  ['no tools', {}, /has no tools/],
  ['tools that are an object', { tools: {} }, /has no tools/],
  ['a tool that is a string', { tools: ['echo'] }, /has no name/],
  ['a tool without name', { tools: [{ Name: 'echo' }] }, /has no name/],
])('filterList refuses %s', (_name, page, message) => {
  expect(() => filterList('tools/list', page, () => true)).toThrow(
    expect.objectContaining({ code: 'mcp_parse', message: expect.stringMatching(message) }),
  );
});

test.each<[ListMethod, string, object]>([
  ['resources/list', 'uri', { name: 'n', mimeType: 'text/plain', size: 3, annotations: {} }],
  ['resources/templates/list', 'uriTemplate', { name: 'n', mimeType: 'text/plain' }],
  ['prompts/list', 'name', { title: 'T', arguments: [{ name: 'a' }] }],
])('%s keeps what its caller may use, with what the revisions define', (method, key, more) => {
  const member = method === 'resources/templates/list' ? 'resourceTemplates' : method.split('/')[0];
  const entries = ['a', 'b'].map((name) => ({ ...more, [key]: name, other: 1 }));
  const page = { [String(member)]: entries, nextCursor: 'n', ttlMs: 1, other: ['a'] };
  expect(filterList(method, page, (name) => name === 'b')).toEqual({
    [String(member)]: [{ ...more, [key]: 'b' }],
    nextCursor: 'n',
    ttlMs: 1,
    cacheScope: 'private',
  });
  expect(() => filterList(method, { tools: [] }, () => true)).toThrow(/has no/);
});

test('a result that depends on its caller is for no shared cache', () => {
  expect(ofThisCaller({ contents: [], cacheScope: 'public', ttlMs: 3 })).toEqual({
    contents: [],
    cacheScope: 'private',
    ttlMs: 3,
  });
  expect(ofThisCaller({ contents: [] })).toEqual({ contents: [] });
});

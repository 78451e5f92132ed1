import type { JsonObject } from '@chancery/shared/ground/json.ts';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../../../../test/kit/refusal.ts';
import { foundIn, insteadOf, realCall } from './find.ts';

const TOOLS: readonly JsonObject[] = [
  { name: 'git__get_issue', description: 'Reads one issue.', inputSchema: { type: 'object' } },
  { name: 'git__create_issue', title: 'git: New', description: 'Writes one.', inputSchema: {} },
  { name: 'mail__send', description: 'Sends mail about an issue.', inputSchema: {} },
];
const find = (query: unknown, tools = TOOLS) => {
  const { content } = foundIn(tools, { arguments: { query } as JsonObject });
  const [{ text }] = content as unknown as readonly [{ readonly text: string }];
  const { tools: found, matching } = JSON.parse(text);
  return { names: found.map(({ name }: { name: string }) => name), matching, found, text };
};

test('only more than 60 tools are replaced', () => {
  expect(insteadOf(60)).toBeUndefined();
  expect(insteadOf(61)?.map(({ name }) => name)).toEqual(['find_tools', 'call_tool']);
});

describe('tools are found', () => {
  test.each([
    ['issue', ['git__get_issue', 'git__create_issue', 'mail__send']],
    ['CREATE issue', ['git__create_issue', 'git__get_issue', 'mail__send']],
    ['send-mail', ['mail__send']],
    ['new', ['git__create_issue']],
    ['nothing', []],
    ['', []],
  ])('by %j', (query, names) => {
    expect(find(query).names).toEqual(names);
  });

  test('with their schemas, and no more than 20', () => {
    expect(find('reads').found).toEqual([TOOLS[0]]);
    const many = Array.from({ length: 50 }, (_, n) => ({ name: `a__t${n}`, inputSchema: {} }));
    expect(find('a', many)).toMatchObject({ matching: 50, names: { length: 20 } });
  });

  test('in an answer of bounded size', () => {
    const large = ['a', 'b', 'c'].map((name) => ({ name: `a__${name}`, description: 'x'.repeat(200_000) }));
    expect(find('a', large).names).toEqual(['a__a']);
  });

  test.each([[undefined], [7], ['x'.repeat(1_025)]])('not by %j', (query) => {
    expect(() => find(query)).toThrow(refusal('mcp_parse', /query/));
  });
});

test('a call has the real name and arguments, and the rest of the parameters', () => {
  const params = { name: 'call_tool', arguments: { name: 'a__b', arguments: { c: 1 } }, _meta: { d: 2 } };
  expect(realCall(params)).toEqual({ name: 'a__b', arguments: { c: 1 }, _meta: { d: 2 } });
  expect(realCall({ arguments: { name: 'a__b' } })).toEqual({ name: 'a__b', arguments: {} });
  for (const given of [{}, { name: 1 }, { name: 'a', arguments: 'b' }])
    expect(() => realCall({ arguments: given })).toThrow(refusal('mcp_parse', /call_tool needs/));
});

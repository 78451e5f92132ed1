import { expect, test } from 'vitest';
import { MAX_SHOWN, ownUri, partOf, serverPart, shownName, shownUri, twinsAmong } from './union-name.ts';

/** They are in the configs and prompts of clients, so they never change. */
const vectors = [
  ['github', 'get_issue', 'github__get_issue'],
  ['github', 'other__tool', 'github__other__tool'],
  ['github', '_private', 'github___private'],
  ['github', 'repo.get', 'github__repo-get_af558860e6'],
  ['github', 'été', 'github__-t-_6f898ff320'],
  ['github', 'x'.repeat(56), `github__${'x'.repeat(56)}`],
  ['github', 'x'.repeat(57), `github__${'x'.repeat(45)}_6210cc4c8c`],
  ['a'.repeat(24), 't', `${'a'.repeat(24)}__t`],
  ['a'.repeat(25), 't', `${'a'.repeat(15)}_2f521e2a__t`],
  ['a'.repeat(63), 'get_issue', `${'a'.repeat(15)}_7d3e74a0__get_issue`],
] as const;

test.each(vectors)('%s and %s are shown as %s', (server, name, shown) => {
  expect(shownName(server, name)).toBe(shown);
  expect(shown).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
  expect(partOf(shown)).toBe(serverPart(server));
});

test('no name is longer than clients take', () => {
  for (const server of ['a', 'b'.repeat(24), 'c'.repeat(63)])
    for (const length of [1, 30, 38, 56, 61, 62, 128])
      expect(shownName(server, 'n'.repeat(length)).length).toBeLessThanOrEqual(MAX_SHOWN);
});

test('a server whose name is the cut name of another has another part', () => {
  const long = 'a'.repeat(30);
  expect(serverPart(long)).not.toBe(serverPart('a'.repeat(24)));
  expect(serverPart(long)).not.toBe(serverPart('a'.repeat(31)));
  // Only a cut name has an underscore, which no name of a resource has.
  expect(serverPart(long)).toContain('_');
});

test.each([
  ['github', 'file:///srv/x', 'mcp-github+file:///srv/x'],
  ['github', 'repo://{owner}/{name}', 'mcp-github+repo://{owner}/{name}'],
  ['github', 'mcp-mail+file:///x', 'mcp-github+mcp-mail+file:///x'],
  ['github', 'ui:other', 'mcp-github+ui:other'],
  ['github', 'ui://board/main', 'ui://github__board/main'],
  ['github', 'ui://mail__board/main', 'ui://github__mail__board/main'],
  ['a--b', 'ui://c/x', 'ui://a--b__c/x'],
])('%s: %s is shown as %s, and found again', (server, uri, shown) => {
  expect(shownUri(server, uri)).toBe(shown);
  expect(ownUri(shown)).toEqual({ server, uri });
});

test.each(['file:///x', 'mcp-', 'mcp-github', 'ui://board', 'MCP-github+x:y', 'mcp-a_b+x:y', ''])(
  '%s is no shown URI',
  (text) => {
    expect(ownUri(text)).toBeUndefined();
  },
);

test('twins are found: within a server, and nowhere else', () => {
  const mine = { name: 'github', tools: ['repo.get', 'repo-get_af558860e6', 'get'] };
  expect(twinsAmong([mine, { name: 'other', tools: ['get', 'repo.get'] }])).toEqual([
    {
      server: 'github',
      tool: 'repo-get_af558860e6',
      says: 'repo-get_af558860e6 and repo.get are both shown as github__repo-get_af558860e6',
    },
  ]);
});

import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import type { Resource } from '../registry/resources.ts';
import { ofServers, widening } from './scope.ts';

const server = (name: string): Resource => ({
  kind: 'McpServer',
  name,
  identity: parseSpiffeId(`spiffe://prod.example/${name}`),
  address: 'a:1',
});
const access = (name: string, servers: string[], deny: string[] = []): Resource => ({
  kind: 'Access',
  name,
  who: ['spiffe://prod.example/web'],
  servers,
  tools: { allow: ['*'], deny },
});
const denying = (blocks: object): Resource => ({ ...access('x', ['a']), ...blocks }) as Resource;
const no = { allow: [], deny: ['x*'] };
const set = {
  version: 3,
  resources: [access('both', ['a', 'b']), access('theirs', ['b']), server('a'), server('b')],
};

test('an owner sees their servers and the rules for them, without the names of others', () => {
  expect(ofServers(set, ['a'])).toEqual({ version: 3, resources: [access('both', ['a']), server('a')] });
  expect(ofServers(set, [])).toEqual({ version: 3, resources: [] });
  expect(ofServers(set, undefined)).toEqual(set);
});

test.each<[string, 'added' | 'changed' | 'removed', Resource, boolean]>([
  ['a new rule', 'added', access('x', ['a']), true],
  ['a changed rule', 'changed', access('x', ['a']), true],
  ['a rule that goes', 'removed', access('x', ['a']), false],
  ['a rule that denies and goes', 'removed', access('x', ['a'], ['delete_*']), true],
  ['a rule that denies resources and goes', 'removed', denying({ resources: no }), true],
  ['a rule that denies prompts and goes', 'removed', denying({ prompts: no }), true],
  ['a rule that denies completions and goes', 'removed', denying({ completion: no }), true],
  [
    'a rule that denies a class of tools and goes',
    'removed',
    denying({ tools: { allow: ['*'], deny: [], denyActions: ['admin'] } }),
    true,
  ],
  ['a server that goes', 'removed', server('x'), false],
])('%s: whether it may widen access', (_, change, resource, widens) => {
  const key = `${resource.kind}/${resource.name}`;
  const { kind, name } = resource;
  const before = {
    ...set,
    resources: [resource],
    identities: [],
    policy: { version: 1, rules: [] } as never,
  };
  expect(widening({ changes: [{ change, key, kind, name, diff: '' }], before })).toEqual(widens ? [key] : []);
});

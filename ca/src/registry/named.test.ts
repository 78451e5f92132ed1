import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { describe, expect, test } from 'vitest';
import { isSpokenOf, namesIn } from './named.ts';
import { Resource } from './resources.ts';

const id = (path: string) => parseSpiffeId(`spiffe://prod.example/${path}`);
const resources = [
  { kind: 'Identity', name: 'a', platform: 'unix', id: id('agents/triage') },
  { kind: 'Identity', name: 'b', platform: 'unix', id: 'spiffe://prod.example/users/u{uid}/x' },
  { kind: 'McpServer', name: 'git', identity: id('tools/git'), address: '127.0.0.1:1' },
  {
    kind: 'Access',
    name: 'c',
    who: [id('people/ada'), 'spiffe://prod.example/jobs/*'],
    servers: ['git'],
    tools: { allow: ['*'] },
  },
].map((each) => Resource.parse(each));

describe('an identity', () => {
  test.each(['agents/triage', 'users/u7/x', 'tools/git', 'people/ada', 'jobs/nightly'])(
    '%s is one that a resource speaks of',
    (path) => {
      expect(isSpokenOf(resources, id(path))).toBe(true);
    },
  );

  test.each(['agents/triaje', 'users/u/x', 'users/u7/x/y', 'users/u7/8/x', 'tools/gitt', 'jobs', 'jobs/a/b'])(
    '%s is not',
    (path) => {
      expect(isSpokenOf(resources, id(path))).toBe(false);
    },
  );
});

test('names without wildcards and attributes may be meant', () => {
  expect(namesIn([...resources, ...resources])).toEqual([
    id('agents/triage'),
    id('tools/git'),
    id('people/ada'),
  ]);
});

import { expect, test } from 'vitest';
import { joinNodes, nodesOf } from './node.ts';

test('joined nodes are split again, whatever they contain', () => {
  const nodes = [
    { platform: 'kubernetes/eu-1', node: 'a+b%2B%25' },
    { platform: 'tpm', node: '+' },
  ];
  const joined = joinNodes(nodes.map(({ node }) => node));
  expect(nodesOf({ platform: 'kubernetes/eu-1+tpm', node: joined })).toEqual(nodes);
  expect(nodesOf({ platform: 'tpm', node: 'a+b%2B' })).toEqual([{ platform: 'tpm', node: 'a+b%2B' }]);
});

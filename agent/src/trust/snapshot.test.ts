import { decideServer } from '@chancery/shared/policy/decide.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { expect, test } from 'vitest';
import { compileSnapshot } from './snapshot.ts';

const caller = parseSpiffeId('spiffe://prod.example/agents/a');
const server = {
  kind: 'McpServer',
  name: 'github',
  identity: 'spiffe://prod.example/tools/github',
  address: 'github.internal:8443',
  owner: 'platform',
};
const access = { kind: 'Access', name: 'all', who: [caller], servers: ['github'], tools: { allow: ['*'] } };
const text = (...resources: readonly object[]): string[] => resources.map((each) => JSON.stringify(each));

test('compiles what the CA sent', () => {
  const policy = compileSnapshot(text(server, access), 7n);
  expect(policy.version).toBe(7n);
  expect([...policy.servers.keys()]).toEqual(['github']);
  expect(decideServer(policy, caller, 'github').allow).toBe(true);
});

test('nothing allows nothing', () => {
  expect(decideServer(compileSnapshot([], 1n), caller, 'github').allow).toBe(false);
});

test.each([
  ['not JSON', ['{'], 'a resource is not JSON'],
  ['another kind', text({ ...server, kind: 'Identity' }), 'cannot be read by this version'],
  [
    'a key that this version does not know',
    text({ ...access, when: 'true' }),
    'cannot be read by this version',
  ],
  ['a missing key', text({ ...server, identity: undefined }), 'cannot be read by this version'],
  ['a broken SPIFFE ID', text({ ...server, identity: 'spiffe://prod.example/../x' }), ''],
])('%s is refused as a whole', (_, resources, says) => {
  expect(() => compileSnapshot([...text(access), ...resources], 1n)).toThrow(
    expect.objectContaining({ code: 'policy', message: expect.stringContaining(says) }),
  );
});

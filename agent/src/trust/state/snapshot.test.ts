import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { decideServer } from '@chancery/shared/policy/decide.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { describe, expect, test } from 'vitest';
import { makeAuthority, NOW } from '../../../../test/kit/certificates.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { bundleOf, compileSnapshot, completed, ensureForThisVersion, policyOf } from './snapshot.ts';

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
  const policy = compileSnapshot(text(server, access), 7n, NOW);
  expect(policy.version).toBe(7n);
  expect([...policy.servers.keys()]).toEqual(['github']);
  expect(decideServer(policy, { caller: caller }, 'github').allow).toBe(true);
});

test('nothing allows nothing', () => {
  expect(decideServer(compileSnapshot([], 1n, NOW), { caller: caller }, 'github').allow).toBe(false);
});

test.each([
  ['not JSON', ['{'], 'a resource is not JSON'],
  ['another kind', text({ ...server, kind: 'Identity' }), 'cannot be read by this version'],
  [
    'a key that this version does not know',
    text({ ...access, later: 'true' }),
    'cannot be read by this version',
  ],
  ['a missing key', text({ ...server, identity: undefined }), 'cannot be read by this version'],
  ['a broken SPIFFE ID', text({ ...server, identity: 'spiffe://prod.example/../x' }), ''],
])('%s is refused as a whole', (_, resources, says) => {
  expect(() => compileSnapshot([...text(access), ...resources], 1n, NOW)).toThrow(
    expect.objectContaining({ code: 'policy', message: expect.stringContaining(says) }),
  );
});

describe('a snapshot', () => {
  const trustDomain = parseTrustDomain('prod.example');
  const [root, next, other] = ['root', 'next', 'other'].map((name) =>
    asBuffer(makeAuthority(name).certificate.der),
  ) as [Buffer, Buffer, Buffer];
  const known = { trustDomain, authorities: [root], sequence: 1n };
  const bundle = {
    trustDomain: 'prod.example',
    x509Authorities: [root, next],
    sequence: 2n,
    jwtAuthorities: [],
    readerVersion: 0,
    retiringX509: [],
    crossChains: [],
    logKey: '',
    note: '',
  };
  const policy = { version: 7n, resources: text(server, access), note: '' };
  const revocations = { sequence: 0n, list: [], since: 0n, gone: [], note: '' };
  const genuine = { sequence: 9n, bundle, policy, revocations, readerVersion: 0 };

  test('is read whole', () => {
    expect(bundleOf(genuine, known)).toEqual({ trustDomain, authorities: [root, next], sequence: 2n });
    const read = policyOf(genuine);
    expect(read.policy.version).toBe(7n);
    expect(read.message).toBe(policy);
  });

  test.each([
    ['a snapshot', { readerVersion: 2 }],
    ['a bundle', { bundle: { ...bundle, readerVersion: 2 } }],
  ])('%s for newer readers only is not put in force', (_, changes) => {
    const says = /readers of version 2, and this agent is of 1: upgrade the agent/;
    expect(() => ensureForThisVersion({ ...genuine, ...changes })).toThrow(refusal('message_parse', says));
    expect(() => ensureForThisVersion({ ...genuine, readerVersion: 1 })).not.toThrow();
  });

  test('that leaves a part out means the one before', () => {
    const first = completed(undefined, genuine);
    expect(first).toEqual(genuine);
    const later = {
      ...genuine,
      sequence: 10n,
      policy: undefined,
      revocations: { ...revocations, sequence: 1n },
    };
    const second = completed(first, later);
    expect(second).toEqual({ ...later, policy });
    expect(completed(second, { ...genuine, revocations: undefined }).revocations).toBe(later.revocations);
    expect(completed(undefined, { ...genuine, policy: undefined }).policy).toBeUndefined();
  });

  test('that has an equal bundle has the same object, and one that differs another', () => {
    const decoded = (x509Authorities: readonly Buffer[]) => ({
      ...genuine,
      bundle: { ...bundle, x509Authorities: x509Authorities.map((der) => Buffer.from(der)) },
    });
    expect(completed(genuine, decoded([root, next])).bundle).toBe(bundle);
    expect(completed(genuine, decoded([root])).bundle).not.toBe(bundle);
    expect(completed(undefined, genuine).bundle).toBe(bundle);
  });

  describe('of revocations', () => {
    const revoked = (number: bigint) => ({
      number,
      kind: 'id',
      value: `${caller}/${number}`,
      serials: [],
      reason: 'superseded',
      until: 0n,
    });
    const two = { ...genuine, revocations: { ...revocations, sequence: 2n, list: [1n, 2n].map(revoked) } };

    test('that is a change means the ones before with it', () => {
      const change = { sequence: 4n, list: [revoked(3n)], since: 2n, gone: [1n], note: 'of all' };
      const { revocations: whole } = completed(completed(undefined, two), {
        ...genuine,
        revocations: change,
      });
      expect(whole).toEqual({
        sequence: 4n,
        list: [revoked(2n), revoked(3n)],
        since: 0n,
        gone: [],
        note: 'of all',
      });
    });

    test('that is whole means no others', () => {
      const whole = { ...genuine, revocations: { ...revocations, sequence: 5n, list: [revoked(4n)] } };
      expect(completed(two, whole).revocations).toEqual(whole.revocations);
    });

    test.each([
      ['what was not said', two, 3n, /^a change of revocations 3 came after 2$/],
      ['nothing', undefined, 3n, /^a change of revocations 3 came after nothing$/],
    ])('that is a change of %s is refused', (_, before, since, message) => {
      const change = { ...genuine, revocations: { ...revocations, sequence: 4n, since } };
      expect(() => completed(before, change)).toThrow(refusal('out_of_order', message));
    });
  });

  test('with the policy that was read before has it with what it remembers', () => {
    const before = policyOf(genuine);
    expect(policyOf(genuine, before)).toBe(before);
    expect(policyOf({ ...genuine, policy: { ...policy } }, before).policy).not.toBe(before.policy);
  });

  test.each([
    {
      name: 'no bundle',
      message: { ...genuine, bundle: undefined },
      code: 'message_parse',
      says: 'without its bundle',
    },
    {
      name: 'no policy',
      message: { ...genuine, policy: undefined },
      code: 'message_parse',
      says: 'without its policy',
    },
    {
      name: 'another trust domain’s bundle',
      message: { ...genuine, bundle: { ...bundle, trustDomain: 'test.example' } },
      code: 'bundle',
      says: 'bundle is of test.example',
    },
    {
      name: 'a trust domain that is none',
      message: { ...genuine, bundle: { ...bundle, trustDomain: '' } },
      code: 'trust_domain',
      says: '',
    },
    {
      name: 'quite another bundle',
      message: { ...genuine, bundle: { ...bundle, x509Authorities: [other] } },
      code: 'bundle',
      says: 'both adds and removes',
    },
    {
      name: 'a policy that cannot be read',
      message: { ...genuine, policy: { version: 7n, resources: ['{}'], note: '' } },
      code: 'policy',
      says: 'cannot be read by this version',
    },
  ])('with $name is refused', ({ message, code, says }) => {
    expect(() => {
      bundleOf(message, known);
      policyOf(message);
    }).toThrow(expect.objectContaining({ code, message: expect.stringContaining(says) }));
  });
});

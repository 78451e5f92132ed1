/** What an owner of servers may apply. */
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { applied, makeRpc, type Rpc } from '../../../test/kit/ca/rpc.ts';
import { NOW } from '../../../test/kit/certificates.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import type { Asker } from './verb.ts';

const id = (name: string): string => `spiffe://prod.example/${name}`;
const identity = { kind: 'Identity', name: 'w', platform: 'unix', id: id('w') };
const server = (name: string, more = {}) => ({
  ...{ kind: 'McpServer', name, identity: id(name), address: 'a:1' },
  ...more,
});
const access = (name: string, servers: readonly string[], allow = ['get_*']) => ({
  ...{ kind: 'Access', name, who: [id('w')], servers, tools: { allow } },
});
const OTHERS = [
  identity,
  server('other'),
  access('shared', ['payments', 'other']),
  access('theirs', ['other']),
];
const OWN = [server('payments'), access('own', ['payments'])];

let rpc: Rpc;
beforeEach(async () => {
  const attest = () => Promise.reject(new Error('nobody joins here'));
  rpc = await makeRpc([
    { type: 'unix', attest },
    { type: 'tpm', attest },
  ]);
  await applied(rpc, ...OTHERS, ...OWN);
});

const owner = (secondsAgo = 0): Asker => ({
  address: '10.0.0.2',
  person: async () => ({
    ...{ id: parseSpiffeId(id('chancery/operator/kay')), by: 'kay', role: 'owner', servers: ['payments'] },
    peer: { id: parseSpiffeId(id('chancery/operator/kay')) },
    authTime: new Date(rpc.clock.now().getTime() - secondsAgo * 1000),
  }),
});
const order = (resources: readonly object[], how = {}) => ({
  files: resources.map((each, n) => ({ name: `${n}.yaml`, text: JSON.stringify(each) })),
  how,
});
const apply = (resources: readonly object[], { dryRun = false, secondsAgo = 0 } = {}) =>
  rpc.operator.apply(owner(secondsAgo))({ ...order(resources), dryRun });
const keys = () => rpc.registry.sets.current().resources.map(({ kind, name }) => `${kind}/${name}`);

test("an owner's set takes the place of their part, and the rest stays", async () => {
  const before = keys();
  const more = access('more', ['payments'], ['*']);
  const said = await apply([server('payments', { address: 'b:2' }), more]);
  expect(said.changes.map(({ change, key }) => `${change} ${key}`)).toEqual([
    'added Access/more',
    'removed Access/own',
    'changed McpServer/payments',
  ]);
  expect(keys().toSorted()).toEqual(
    [...before.filter((each) => each !== 'Access/own'), 'Access/more'].toSorted(),
  );
  expect((await rpc.store.events(0, 99)).at(-1)?.event).toMatchObject({
    type: 'registry.applied',
    by: 'kay',
  });
});

test('a dry run and diff show the same, and change nothing', async () => {
  const wanted = [server('payments')];
  const removed = [{ change: 'removed', key: 'Access/own' }];
  expect((await apply(wanted, { dryRun: true })).changes).toMatchObject(removed);
  expect((await rpc.operator.diff(owner())(order(wanted))).changes).toMatchObject(removed);
  expect(rpc.registry.sets.current().version).toBe(1);
});

describe('I149 an owner is refused', () => {
  test.each<[string, readonly object[], RegExp]>([
    ['an identity', [...OWN, { ...identity, name: 'v' }], /Identity\/v is not for these alone$/],
    ['another server', [...OWN, server('new')], /McpServer\/new is not for these alone$/],
    ['a rule for another server', [...OWN, access('x', ['other'])], /Access\/x is not for these alone$/],
    [
      'I296 their rule, made to be for another server, too',
      [server('payments'), access('own', ['payments', 'other'])],
      /Access\/own is not for these alone$/,
    ],
    ['a rule for both', [...OWN, access('x', ['payments', 'other'])], /Access\/x is not for these/],
    [
      'another SPIFFE ID for their server',
      [server('payments', { identity: id('other') }), access('own', ['payments'])],
      /McpServer\/payments is added, removed or given another identity by operators alone$/,
    ],
  ])('%s', async (_, resources, says) => {
    for (const dryRun of [true, false])
      await expect(apply(resources, { dryRun })).rejects.toThrow(refusal('operator_role', says));
    expect(rpc.registry.sets.current().version).toBe(1);
  });

  const CLEAR = [{ tools: ['*'], fields: ['/repo'] }];
  test.each<[string, object, object]>([
    ['audit', { audit: 'required' }, {}],
    ['audit', {}, { audit: 'required' }],
    ['clear', {}, { clear: CLEAR }],
    ['clear', { clear: CLEAR }, { clear: [...CLEAR, { tools: ['x'], fields: ['/a'] }] }],
    ['clear', { clear: CLEAR }, {}],
  ])('%s of their server changed from %j to %j', async (field, was, wanted) => {
    await applied(rpc, ...OTHERS, server('payments', was), access('own', ['payments']));
    await expect(apply([server('payments', wanted)])).rejects.toThrow(
      refusal('operator_role', new RegExp(`McpServer/payments: ${field}, about records of its calls, is`)),
    );
    const said = await apply([server('payments', { ...was, address: 'b:2' })]);
    expect(said.changes.map(({ key }) => key)).toContain('McpServer/payments');
  });

  const ROLL_OUT = { observe: { until: addSeconds(NOW, 60).toISOString() } };
  test.each<[string, object, object]>([
    ['on', {}, ROLL_OUT],
    ['off', ROLL_OUT, {}],
  ])('M187 that their server observes: switched %s', async (_, was, wanted) => {
    await applied(rpc, ...OTHERS, server('payments', was), access('own', ['payments']));
    await expect(apply([server('payments', wanted)])).rejects.toThrow(
      refusal(
        'operator_role',
        /McpServer\/payments: observe, which lets pass what rules deny, is changed by/,
      ),
    );
  });

  const CLASSES = { get: { action: 'read' } };
  test.each<[string, object, object]>([
    ['era', {}, { era: 'legacy' }],
    ['era', { era: 'legacy' }, {}],
    ['tools', {}, { tools: CLASSES }],
    ['tools', { tools: CLASSES }, { tools: { get: { action: 'read' }, 'drop_*': { action: 'read' } } }],
  ])(
    'M117 %s of their server, on which rules of others rely, changed from %j to %j',
    async (field, was, wanted) => {
      await applied(rpc, ...OTHERS, server('payments', was), access('own', ['payments']));
      await expect(apply([server('payments', wanted)])).rejects.toThrow(
        refusal(
          'operator_role',
          new RegExp(`McpServer/payments: ${field}, on which rules rely, is changed by`),
        ),
      );
    },
  );

  test.each<[string, readonly object[], RegExp]>([
    // The rule for both is somebody else's, and needs the server.
    ['their server left out', [], /there is no McpServer named payments/],
    [
      "the name of another one's rule",
      [...OWN, access('shared', ['payments'])],
      /Access\/shared is defined at/,
    ],
  ])('%s', async (_, resources, says) => {
    await expect(apply(resources)).rejects.toThrow(refusal('resource', says));
  });

  test('their server left out where no rule of others needs it', async () => {
    await applied(rpc, identity, server('other'), ...OWN);
    await expect(apply([])).rejects.toThrow(
      refusal('operator_role', /McpServer\/payments is added, removed or/),
    );
  });

  test('the flags that are for operators: they do nothing', async () => {
    const own = { ...identity, name: 'own', id: id('other') };
    const wide = { ...identity, name: 'wide', platform: 'tpm', id: id('{name}') };
    const { files } = order([...OTHERS, ...OWN, own, wide]);
    await rpc.registry.apply(files, 'the test', { allowSharedServerIds: true });
    const how = { allowSharedServerIds: true, pruneAll: true };
    await expect(rpc.operator.diff(owner())(order(OWN, how))).rejects.toThrow(
      refusal('resource', /pass --allow-shared-server-ids/),
    );
  });

  test('after a stale sign-in, unless access only shrinks', async () => {
    const wider = [server('payments'), access('own', ['payments'], ['*'])];
    await expect(apply(wider, { secondsAgo: 301 })).rejects.toThrow(refusal('operator_fresh', /apply needs/));
    expect(await apply([server('payments')], { secondsAgo: 301 })).toMatchObject({ version: 2 });
  });

  test('where somebody else has applied a set meanwhile', async () => {
    const { registry } = rpc;
    const old = registry.sets.current();
    await applied(rpc, ...OTHERS, ...OWN, access('between', ['other']));
    vi.spyOn(registry.sets, 'current').mockReturnValueOnce(old);
    await expect(apply([server('payments')])).rejects.toThrow(
      refusal('resource', /applied another set meanwhile/),
    );
    expect(keys()).toContain('Access/between');
  });
});

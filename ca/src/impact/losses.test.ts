import { parseSpiffeId, parseTrustDomain, type SpiffeId } from '@chancery/shared/spiffe/id.ts';
import { describe, expect, test } from 'vitest';
import type { CertifiedAgent } from '../agents/agents.ts';
import type { Facts } from '../registry/identity/facts.ts';
import { readResources } from '../registry/resources.ts';
import { Losses } from './losses.ts';

const trustDomain = parseTrustDomain('prod.example');
const platforms = new Set(['unix', 'tpm']);
const idOf = (path: string): SpiffeId => parseSpiffeId(`spiffe://prod.example/${path}`);
const setOf = (...resources: readonly object[]) =>
  readResources(
    resources.map((each, index) => ({ name: `${index}.yaml`, text: JSON.stringify(each) })),
    { trustDomain, platforms, version: 1 },
  );
const identity = (name: string, more: object = {}) => ({
  kind: 'Identity',
  name,
  platform: 'unix',
  id: idOf(name),
  ...more,
});
const server = (name: string, path: string) => ({
  kind: 'McpServer',
  name,
  identity: idOf(path),
  address: 'host:8443',
});
const agent = (identity: string, path = identity, node = '1000'): CertifiedAgent => ({
  id: idOf(path),
  identity,
  platform: 'unix',
  node,
});
const known = ({ node }: CertifiedAgent): Facts => ({ platform: 'unix', attributes: { uid: node } });

const [W, USERS, G, NOTES] = [
  identity('w', { when: 'uid == "1000"' }),
  identity('users', { id: 'spiffe://prod.example/users/{uid}' }),
  identity('g'),
  server('notes', 'g'),
];
const before = await setOf(W, USERS, G, NOTES);
const [w, user, gateway] = [agent('w'), agent('users', 'users/1000'), agent('g')];

/** One sentence for each loss. */
async function lost(
  after: readonly object[],
  connected: readonly CertifiedAgent[] = [w, user, gateway],
  facts = true,
) {
  const losses = new Losses({ before, after: await setOf(...after) }, (each) =>
    facts ? known(each) : undefined,
  );
  await losses.add(connected, { connected: true });
  return losses
    .list()
    .map(({ id, certain, why, count }) => `${count} ${id.slice(22)}${certain ? '' : '?'}: ${why}`);
}

describe('an agent loses its SPIFFE ID', () => {
  test.each<[string, readonly object[], readonly string[]]>([
    ['where its identity is removed', [USERS, G, NOTES], ['1 w: Identity/w is removed']],
    [
      'where its evidence no longer meets the condition',
      [{ ...W, when: 'uid == "0"' }, USERS, G, NOTES],
      ['1 w: w: when (uid == "0") is false'],
    ],
    [
      'where its identity gives another one',
      [W, { ...USERS, id: 'spiffe://prod.example/people/{uid}' }, G, NOTES],
      ['1 users/1000: Identity/users gives other SPIFFE IDs'],
    ],
    [
      'where its identity needs another platform',
      [{ ...W, platform: 'tpm', when: 'true' }, USERS, G, NOTES],
      ['1 w: w is for platform tpm, not unix'],
    ],
    [
      'with everybody else',
      [],
      [
        '1 g: Identity/g is removed',
        '1 g: McpServer/notes is removed',
        '1 users/1000: Identity/users is removed',
        '1 w: Identity/w is removed',
      ],
    ],
  ])('%s', async (_, after, losses) => {
    expect(await lost(after)).toEqual(losses);
  });

  test.each<[string, readonly object[]]>([
    ['nothing changes', [W, USERS, G, NOTES]],
    ['another identity gives it', [identity('other', { id: idOf('w') }), USERS, G, NOTES]],
    ['a template gives it', [identity('all', { id: 'spiffe://prod.example/users/{uid}' }), W, G, NOTES]],
    ['the change does not concern its evidence', [{ ...W, when: 'uid in ["1000", "0"]' }, USERS, G, NOTES]],
  ])('not where %s', async (_, after) => {
    expect(await lost(after)).toEqual([]);
  });

  test('not by this change where its evidence earned none before', async () => {
    expect(await lost([USERS, G, NOTES], [agent('w', 'w', '7')])).toEqual([]);
  });

  test('and others of the same SPIFFE ID are counted with it', async () => {
    expect(await lost([{ ...W, when: 'uid == "0"' }, USERS, G, NOTES], [w, w])).toEqual([
      '2 w: w: when (uid == "0") is false',
    ]);
  });

  test('not where its identity gets another name, though its evidence is not known', async () => {
    expect(await lost([{ ...W, name: 'w-2' }, USERS, G, NOTES], [w], false)).toEqual([]);
  });

  test('perhaps, where its evidence is not known and its identity is changed; surely, where nothing gives it', async () => {
    expect(await lost([{ ...W, when: 'uid == "0"' }, G, NOTES], [w, user, gateway], false)).toEqual([
      '1 users/1000: Identity/users is removed',
      '1 w?: Identity/w is changed',
    ]);
  });
});

describe('a gateway loses its server', () => {
  test.each<[string, readonly object[], readonly string[]]>([
    ['where that is removed', [W, USERS, G], ['1 g: McpServer/notes is removed']],
    [
      'where that gets another identity',
      [W, USERS, G, server('notes', 'w')],
      ['1 g: McpServer/notes gets the identity spiffe://prod.example/w'],
    ],
    ['not where only its address changes', [W, USERS, G, { ...NOTES, address: 'other:1' }], []],
  ])('%s', async (_, after, losses) => {
    expect(await lost(after)).toEqual(losses);
  });
});

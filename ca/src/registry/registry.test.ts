import { toolNamed } from '@chancery/shared/policy/call.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { NOW } from '../../../test/kit/certificates.ts';
import { ManualClock } from '../../../test/kit/manual-clock.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { memoryStore } from '../../../test/kit/store/memory-store.ts';
import type { Store } from '../store/store.ts';
import { explainCall } from './explain.ts';
import { openRegistry, type Registry } from './registry.ts';

const trustDomain = parseTrustDomain('prod.example');
const platforms = new Set(['unix', 'tpm']);
const identity = (name: string, platform = 'unix', when = 'true') => ({
  name: `${name}.yaml`,
  text: `kind: Identity\nname: ${name}\nplatform: ${platform}\nid: spiffe://prod.example/${name}\nwhen: "${when}"\n`,
});
const facts = { platform: 'unix', attributes: { uid: '1' } };
const id = (name: string) => parseSpiffeId(`spiffe://prod.example/${name}`);

const clock = new ManualClock(NOW);
let store: Store;
let registry: Registry;
beforeEach(async () => {
  store = await memoryStore(clock);
  registry = await openRegistry({ store, clock, trustDomain, platforms });
});
const names = () => registry.sets.current().resources.map(({ name }) => name);

describe('apply', () => {
  test('replaces the whole set, records it, and calls the listeners', async () => {
    const told: number[] = [];
    registry.sets.onChange(({ version }) => told.push(version));
    await registry.apply([identity('a'), identity('b')], 'uid 0');
    const { changes, version } = await registry.apply([identity('b', 'tpm'), identity('c')], 'uid 7');
    expect(version).toBe(2);
    expect(changes.map(({ change, key }) => `${change} ${key}`)).toEqual([
      'removed Identity/a',
      'changed Identity/b',
      'added Identity/c',
    ]);
    expect({ told, names: names() }).toEqual({ told: [1, 2], names: ['b', 'c'] });
    expect((await store.events(1, 10)).map(({ event }) => event)).toEqual([
      {
        type: 'registry.applied',
        version: 2,
        changes: ['removed Identity/a', 'changed Identity/b', 'added Identity/c'],
        by: 'uid 7',
      },
    ]);
  });

  test('of what is in force already is no new version', async () => {
    await registry.apply([identity('a')], 'uid 0');
    const same = { changes: [], warnings: [], version: 1 };
    expect(await registry.apply([identity('a')], 'uid 0')).toMatchObject(same);
    expect(await store.events(0, 10)).toHaveLength(1);
  });

  test('of an identity with an end: it gives until then, and no certificate outlives it', async () => {
    const end = new Date(NOW.getTime() + 60_000);
    const ending = { name: 'a.yaml', text: `${identity('a').text}until: '${end.toISOString()}'\n` };
    await registry.apply([ending, identity('b', 'tpm')], 'uid 0');
    const before = new Date(end.getTime() - 1);
    expect(registry.choose(facts, undefined, before)).toMatchObject({ identity: 'a', notBeyond: end });
    expect(() => registry.choose(facts, undefined, end)).toThrow(
      refusal('no_identity', /^a is off since 2026-.*, its until$/),
    );
    await registry.apply([ending, identity('c')], 'uid 0');
    expect(registry.choose(facts, undefined, end)).toMatchObject({ identity: 'c' });
  });

  test('of a rule with an end: it counts until then', async () => {
    const end = new Date(NOW.getTime() + 60_000);
    const server =
      'kind: McpServer\nname: git\nidentity: spiffe://prod.example/git\naddress: git.example:443\n';
    const rule = `kind: Access\nname: r\nwho: [${id('a')}]\nservers: [git]\ntools: { allow: ['*'] }\nuntil: '${end.toISOString()}'\n`;
    await registry.apply([{ name: 'all.yaml', text: `${server}---\n${rule}` }], 'uid 0');
    const explained = (now: Date) =>
      explainCall(registry.sets.current(), { caller: id('a'), server: 'git', what: toolNamed('x') }, now);
    expect(explained(new Date(end.getTime() - 1))).toMatchObject({ allow: true, rule: 'r' });
    expect(explained(end)).toMatchObject({ allow: false });
  });

  const GIT = 'kind: McpServer\nname: git\nidentity: spiffe://prod.example/git\naddress: git.example:443\n';
  const ROLL_OUTS = {
    observe: (until: string) => `${GIT}observe: { until: '${until}' }\n`,
    everything: (until: string) =>
      `${GIT}---\nkind: Access\nname: r\nwho: [${id('a')}]\nservers: [git]\neverything: { until: '${until}' }\n`,
  };
  const days = (count: number, more = 0) => new Date(NOW.getTime() + count * 86_400_000 + more).toISOString();

  test.each(['observe', 'everything'] as const)(
    'M187 %s ends 30 days after it is applied at the latest, by the clock of the CA',
    async (key) => {
      const file = (until: string) => [{ name: 'a.yaml', text: ROLL_OUTS[key](until) }];
      const line = key === 'observe' ? 5 : 10;
      for (const what of ['diff', 'apply'] as const)
        await expect(registry[what](file(days(30, 1)), 'uid 0' as never)).rejects.toThrow(
          refusal(
            'resource',
            new RegExp(`^a.yaml:${line}: ${key}.until is at most 30 days from now: ${days(30)}`),
          ),
        );
      const { warnings } = await registry.apply(file(days(30)), 'uid 0');
      expect(warnings).toEqual([expect.stringContaining(`until ${days(30)} (${key})`)]);
      clock.jump(new Date(days(29)));
      await registry.apply(file(days(59)), 'uid 0');
      clock.jump(new Date(days(60)));
      const after = await registry.diff(file(days(59)));
      expect(after.warnings).toEqual([expect.stringMatching(/ is off, its until .* has passed$/)]);
      clock.jump(NOW);
    },
  );

  test.each(['observe', 'everything'] as const)('of %s: explain says it, until its end', async (key) => {
    const rule = `---\nkind: Access\nname: few\nwho: [${id('a')}]\nservers: [git]\ntools: { allow: [y] }\n`;
    await registry.apply([{ name: 'a.yaml', text: ROLL_OUTS[key](days(1)) + rule }], 'uid 0');
    const explained = (now: Date) =>
      explainCall(registry.sets.current(), { caller: id('a'), server: 'git', what: toolNamed('x') }, now);
    expect(explained(NOW)).toMatchObject({
      allow: true,
      lines: [
        expect.stringMatching(key === 'observe' ? /^McpServer\/git observes until/ : /: everything until/),
      ].concat(key === 'observe' ? [] : [`r: when (now < ${days(1)}) is true`]),
    });
    expect(explained(new Date(days(1)))).toMatchObject({ allow: false, lines: [expect.any(String)] });
  });

  test('survives a restart', async () => {
    await registry.apply([identity('a')], 'uid 0');
    registry = await openRegistry({ store, clock, trustDomain, platforms });
    expect(registry.sets.current()).toMatchObject({ version: 1, policy: { version: 1n } });
    expect(registry.choose(facts, undefined, NOW).id).toBe(id('a'));
  });

  test('two at once follow one another', async () => {
    const versions = await Promise.all([
      registry.apply([identity('a')], 'uid 0'),
      registry.apply([identity('b')], 'uid 0'),
    ]);
    expect(versions.map(({ version }) => version)).toEqual([1, 2]);
    expect(names()).toEqual(['b']);
  });

  test('changes nothing where the files are refused, and the next one works', async () => {
    const spoiled = registry.apply([identity('a', 'aws')], 'uid 0');
    const good = registry.apply([identity('b')], 'uid 0');
    await expect(spoiled).rejects.toThrow(refusal('resource', /platform aws is not configured/));
    expect((await good).version).toBe(1);
    expect(names()).toEqual(['b']);
  });

  test('changes nothing where it cannot be stored', async () => {
    await registry.apply([identity('a')], 'uid 0');
    vi.spyOn(store, 'saveRegistry').mockRejectedValueOnce(new Error('disk full'));
    await expect(registry.apply([identity('b')], 'uid 0')).rejects.toThrow(/disk full/);
    expect(names()).toEqual(['a']);
    expect((await registry.apply([identity('b')], 'uid 0')).version).toBe(2);
  });
});

test('an empty set takes nothing away unless that is said', async () => {
  expect(await registry.apply([], 'uid 0')).toMatchObject({ changes: [], warnings: [], version: 0 });
  await registry.apply([identity('a')], 'uid 0');
  const nothing = [{ name: 'a.yaml', text: '# none\n' }];
  const why = refusal('resource', /all 1 in force would be removed\. Pass --prune-all/);
  await expect(registry.apply(nothing, 'uid 0')).rejects.toThrow(why);
  await expect(registry.diff([])).rejects.toThrow(why);
  expect(names()).toEqual(['a']);
  expect((await registry.apply(nothing, 'uid 0', { pruneAll: true })).version).toBe(2);
  expect(names()).toEqual([]);
});

test('while a large set is read, others are answered', async () => {
  const many = Array.from({ length: 300 }, (_, index) => identity(`a${index}`).text).join('---\n');
  let answered = 0;
  const turn = setInterval(() => (answered += 1), 1);
  await registry.apply([{ name: 'many.yaml', text: many }], 'uid 0');
  clearInterval(turn);
  expect(names()).toHaveLength(300);
  expect(answered).toBeGreaterThan(1);
});

test('diff says what apply would change, and changes nothing', async () => {
  expect(await registry.diff([identity('a')])).toMatchObject({
    changes: [{ change: 'added', key: 'Identity/a' }],
    warnings: [],
  });
  await expect(registry.diff([identity('a', 'aws')])).rejects.toThrow(refusal('resource', /platform aws/));
  expect({ names: names(), stored: await store.registry() }).toEqual({ names: [], stored: undefined });
});

describe('facts', () => {
  test('earn every identity that fits, the first by name the default', async () => {
    await registry.apply([identity('c'), identity('b'), identity('a', 'tpm')], 'uid 0');
    expect(registry.choose(facts, undefined, NOW)).toMatchObject({ identity: 'b', id: id('b') });
    expect(registry.choose(facts, id('c'), NOW).id).toBe(id('c'));
  });

  test('do not earn what they do not fit', async () => {
    await registry.apply([identity('b'), identity('a', 'tpm')], 'uid 0');
    expect(() => registry.choose(facts, id('a'), NOW)).toThrow(
      refusal('not_entitled', /^asked for spiffe:\/\/prod.example\/a, earned spiffe:\/\/prod.example\/b$/),
    );
  });

  test('that earn nothing are told the nearest miss', async () => {
    await registry.apply([identity('a', 'tpm'), identity('b', 'unix', "uid == '2'")], 'uid 0');
    expect(() => registry.choose(facts, undefined, NOW)).toThrow(
      refusal('no_identity', /^b: when \(uid == '2'\) is false$/),
    );
  });

  test('earn nothing of an empty registry', () => {
    expect(() => registry.choose(facts, undefined, NOW)).toThrow(
      refusal('no_identity', /^the registry has no Identity at all$/),
    );
  });

  test('a fault of ours is not a miss', async () => {
    const text = identity('a')
      .text.replace('/a', '/{uid}')
      .replace(/when.*/, '');
    await registry.apply([{ name: 'a.yaml', text }], 'uid 0');
    const getOwnPropertyDescriptor = () => {
      throw new TypeError('a bug');
    };
    const broken = { ...facts, attributes: new Proxy(facts.attributes, { getOwnPropertyDescriptor }) };
    expect(() => registry.choose(broken, undefined, NOW)).toThrow(TypeError);
  });
});

test.each([
  [
    'an attestor that its identities need',
    { platforms: new Set(['tpm']) },
    'config' as const,
    /^the registry's Identity\/a needs the attestor unix, which the config no longer has$/,
  ],
  [
    'the trust domain',
    { trustDomain: parseTrustDomain('other.example') },
    'resource' as const,
    /id must start with spiffe:\/\/other.example/,
  ],
])('a config that has lost %s is refused at the start', async (_, changes, code, message) => {
  await registry.apply([identity('a')], 'uid 0');
  await expect(openRegistry({ store, clock, trustDomain, platforms, ...changes })).rejects.toThrow(
    refusal(code, message),
  );
});

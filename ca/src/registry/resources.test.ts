import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { diffOf } from './diff.ts';
import { policyViewOf } from './policy-view.ts';
import { type Resource, readResources } from './resources.ts';

const context = {
  trustDomain: parseTrustDomain('prod.example'),
  platforms: new Set(['unix', 'tpm']),
  version: 7,
};
const IDENTITY = `kind: Identity
name: local
platform: unix
id: spiffe://prod.example/local/{uid}
`;
const SERVER = `kind: McpServer
name: github
identity: spiffe://prod.example/github
address: github.svc:8443
`;
const ACCESS = `kind: Access
name: triage
who: [spiffe://prod.example/agents/*]
servers: [github]
tools: { allow: [get_issue] }
`;
const read = (...texts: readonly string[]) =>
  readResources(
    texts.map((text, index) => ({ name: `${'abc'[index]}.yaml`, text })),
    context,
  );

test('files and documents become one set, in order of kind and name', async () => {
  const { resources, identities, policy } = await read(
    `${SERVER}---\n${ACCESS}---\n`,
    `# a comment\n${IDENTITY}`,
  );
  expect(resources.map(({ kind, name }) => `${kind}/${name}`)).toEqual([
    'Access/triage',
    'Identity/local',
    'McpServer/github',
  ]);
  expect(identities.map(({ name }) => name)).toEqual(['local']);
  expect(policy.version).toBe(7n);
  expect([...policy.servers.keys()]).toEqual(['github']);
});

describe('a set is refused', () => {
  test.each<[string, readonly string[], RegExp]>([
    ['with a kind that is none', [IDENTITY.replace('Identity', 'Role')], /^a\.yaml:1: kind: /],
    ['with a document that is a list', ['- a\n'], /^a\.yaml:1: /],
    ['with a key that means nothing', [`${ACCESS}speed: 60/m\n`], /^a\.yaml:6: unknown key speed$/],
    ['with a key twice', [`${IDENTITY}name: other\n`], /^a\.yaml:5: this key is set twice$/],
    ['with an alias', [`${IDENTITY}when: &a "true"\nx509: { dnsNames: [*a] }\n`], /^a\.yaml:.*alias/i],
    ['with what is no YAML', ['kind: [\n'], /^a\.yaml:2: /],
    [
      'with a resource twice',
      [SERVER, `# again\n${SERVER}`],
      /^b\.yaml:3: McpServer\/github is defined at a\.yaml:2 already$/,
    ],
    [
      'with a platform that is not configured',
      [IDENTITY.replace('unix', 'aws')],
      /^a\.yaml:3: platform aws is not configured at this CA \(unix, tpm\)$/,
    ],
    [
      'with a rule about a server that is not there',
      [ACCESS],
      /^a\.yaml:4: servers: there is no McpServer named github$/,
    ],
    [
      'with an id of another trust domain',
      [IDENTITY.replace('prod', 'test')],
      /^a\.yaml:1: id must start with/,
    ],
    [
      'with two tools that one endpoint for all servers would show as one',
      [`${SERVER}tools:\n  repo.get: { action: read }\n  repo-get_af558860e6: { action: admin }\n`],
      /^a\.yaml:7: repo-get_af558860e6 and repo\.get are both shown as github__repo-get_af558860e6$/,
    ],
    [
      'with a server whose name has __',
      [SERVER.replace('github', 'git__hub')],
      /^a\.yaml:2: name: a name is /,
    ],
    ['with a pattern that is none', [SERVER, ACCESS.replace('get_issue', "'/(/'")], /^b\.yaml:5: /],
  ])('%s', async (_, texts, message) => {
    await expect(read(...texts)).rejects.toThrow(refusal('resource', message));
  });

  test('with every problem of every file at once', async () => {
    const first = IDENTITY.replace('unix', 'aws').replace('prod', 'test');
    const second = `${SERVER}---\n${SERVER}---\n${ACCESS.replace('github', 'gitlab')}speed: 1\n`;
    await expect(read(first, second)).rejects.toThrow(
      refusal(
        'resource',
        /^a\.yaml:1: id .*\na\.yaml:3: platform aws .*\nb\.yaml:7: .* defined .*\nb\.yaml:16: unknown key speed$/,
      ),
    );
  });

  test('and no rule is about nothing where its server is there, and could not be read', async () => {
    await expect(read(`${SERVER}audti: required\n`, ACCESS)).rejects.toThrow(
      refusal('resource', /^a\.yaml:\d: unknown key audti[^\n]*$/),
    );
  });

  test('and a fault of ours is none of its problems', async () => {
    const faulty = {
      toString: () => {
        throw new TypeError('a bug');
      },
    };
    const broken = { ...context, trustDomain: faulty as never };
    await expect(readResources([{ name: 'a.yaml', text: IDENTITY }], broken)).rejects.toThrow(TypeError);
  });

  test('where no platform is configured at all', async () => {
    const none = { ...context, platforms: new Set<string>() };
    await expect(readResources([{ name: 'a.yaml', text: IDENTITY }], none)).rejects.toThrow(
      refusal('resource', /\(none\)$/),
    );
  });
});

describe('a set with conditions and classes', () => {
  const when = (text: string) => `${ACCESS}\nwhen: ${JSON.stringify(text)}\n`;
  const refusedWith = (says: RegExp, ...texts: readonly string[]) =>
    expect(read(...texts)).rejects.toThrow(refusal('resource', says));

  test('is refused with file, line and column of what is wrong', async () => {
    const line = ACCESS.trimEnd().split('\n').length + 2;
    await refusedWith(
      new RegExp(`:${line}: when: column 9: there is no user in`),
      IDENTITY,
      SERVER,
      when('true && user == 1'),
    );
  });

  test('is refused where a session may be missing, with the line of the condition', async () => {
    const says = /:\d+: when reads session, .*: McpServer\/github needs era: legacy$/;
    await refusedWith(says, IDENTITY, SERVER, when('session.id != ""'));
    const legacy = `${SERVER}\nera: legacy\n`;
    expect((await read(IDENTITY, legacy, when('session.id != ""'))).resources).toHaveLength(3);
  });

  test('is refused with a pattern of tools that is none', async () => {
    const says = /:\d+: tools: \/\(\/: not an RE2 regex/;
    await refusedWith(says, IDENTITY, `${SERVER}\ntools: { '/(/': { action: read } }\n`, ACCESS);
  });

  test('has a warning where denyActions stands beside *', async () => {
    const wide = ACCESS.replace(/allow: .*/, "allow: ['*'], denyActions: [admin] }");
    const { warnings } = await read(IDENTITY, SERVER, wide);
    const says = 'allows * and denies admin: a tool that its McpServer gives no class is allowed';
    expect(warnings).toEqual([`Access/triage ${says}`]);
  });

  test('sends conditions and eras to gateways only', async () => {
    const legacy = `${SERVER}\nera: legacy\n`;
    const set = await read(IDENTITY, legacy, when('session.id != ""'));
    const seen = (path: string) =>
      JSON.stringify(policyViewOf(set, parseSpiffeId(`spiffe://prod.example/${path}`)));
    expect(seen('github')).toMatch(/"when":.*"era":"legacy"/);
    expect(seen('agents/a')).toMatch(/"kind":"McpServer"/);
    expect(seen('agents/a')).not.toMatch(/when|era/);
  });
});

describe('the difference', async () => {
  const { resources: before } = await read(IDENTITY, SERVER);
  const line = async (resources: readonly Resource[]) =>
    (await diffOf(before, resources)).map(({ change, key, kind, name }) =>
      [change, key, kind, name].join(' '),
    );

  test('of nothing is none', async () => {
    expect(await diffOf(before, (await read(SERVER, IDENTITY)).resources)).toEqual([]);
  });

  test('names what is added, changed and removed', async () => {
    const after = (await read(IDENTITY.replace('uid', 'gid'), IDENTITY.replace('local', 'more'))).resources;
    expect(await line(after)).toEqual([
      'changed Identity/local Identity local',
      'added Identity/more Identity more',
      'removed McpServer/github McpServer github',
    ]);
  });

  test('shows the lines that change among those that do not', async () => {
    const after = (await read(IDENTITY.replace('uid', 'gid'), SERVER)).resources;
    expect((await diffOf(before, after))[0]?.diff.split('\n')).toEqual([
      ' kind: Identity',
      ' name: local',
      ' platform: unix',
      '-id: spiffe://prod.example/local/{uid}',
      '+id: spiffe://prod.example/local/{gid}',
      ' x509:',
      '   ttl: 1h',
      '   dnsNames: []',
      '   keyReuse: false',
    ]);
  });

  test('of a resource that comes or goes is all of it', async () => {
    const starts = (diff: string | undefined) => new Set(diff?.split('\n').map((each) => each[0]));
    expect(starts((await diffOf([], before))[0]?.diff)).toEqual(new Set(['+']));
    expect(starts((await diffOf(before, []))[0]?.diff)).toEqual(new Set(['-']));
  });
});

describe('what concerns an SVID', async () => {
  const other = SERVER.replaceAll('github', 'other');
  const rest = ACCESS.replace('triage', 'elsewhere').replace('github', 'other').replace('agents/*', 'x');
  const set = await read(`${IDENTITY}---\n${SERVER}---\n${other}`, `${ACCESS}---\n${rest}`);
  const keys = (path: string) =>
    policyViewOf(set, parseSpiffeId(`spiffe://prod.example/${path}`)).map(
      ({ kind, name }) => `${kind}/${name}`,
    );

  test.each([
    ['a gateway: its server and the rules about it', 'github', ['Access/triage', 'McpServer/github']],
    ['a caller: the servers that it may reach, and no rule', 'agents/a', ['McpServer/github']],
    ['a stranger: nothing', 'agents/a/b', []],
  ])('%s', (_, path, expected) => {
    expect(keys(path)).toEqual(expected);
  });

  test('has no date of a review: an agent of an older release refuses a key that it does not know', async () => {
    const due = await read(SERVER, IDENTITY, `${ACCESS}\nreviewBy: 2027-01-01T00:00:00Z\n`);
    const view = policyViewOf(due, parseSpiffeId('spiffe://prod.example/github'));
    expect(view.map(({ name }) => name)).toEqual(['triage', 'github']);
    expect(JSON.stringify(view)).not.toContain('reviewBy');
    expect(JSON.stringify(due.resources)).toContain('reviewBy');
  });

  test('M187 that a server observes, only its gateway learns', async () => {
    const told = await read(IDENTITY, `${SERVER}\nobserve: { until: 2027-01-01T00:00:00Z }\n`, ACCESS);
    const seen = (path: string) =>
      policyViewOf(told, parseSpiffeId(`spiffe://prod.example/${path}`)).filter((each) => 'observe' in each);
    expect([seen('github').length, seen('agents/a').length]).toEqual([1, 0]);
  });

  test('M105 what is recorded in clear, only a gateway learns of its own server', async () => {
    const clear = "\nclear:\n  - {tools: ['*'], fields: [/repo]}\n";
    const told = await read(IDENTITY, `${SERVER}${clear}`, ACCESS);
    const seen = (path: string) =>
      policyViewOf(told, parseSpiffeId(`spiffe://prod.example/${path}`)).filter((each) => 'clear' in each);
    expect(seen('github')).toHaveLength(1);
    expect(seen('agents/a')).toEqual([]);
  });
});

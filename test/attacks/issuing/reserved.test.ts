/** The names that a trust domain keeps for itself, and a server's name on another platform: rows I50, I52 and I55. */

import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { startAgent } from '@chancery/agent/agent.ts';
import { readAgentConfig } from '@chancery/agent/config/read.ts';
import { issue } from '@chancery/ca/authority/issue.ts';
import { explainFacts } from '@chancery/ca/registry/explain.ts';
import { compileIdentity, IdentityResource } from '@chancery/ca/registry/identity/identity.ts';
import { readResources } from '@chancery/ca/registry/resources.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { compileSpiffePattern } from '@chancery/shared/policy/patterns/spiffe.ts';
import { compilePolicy } from '@chancery/shared/policy/policy.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { makeAuthorities, proven } from '../../kit/ca/authority.ts';
import { startTestCa, type TestCa, TRUST_DOMAIN } from '../../kit/ca/ca.ts';
import { helloMessage, issueOne, joinAs, openAttest } from '../../kit/ca/join.ts';
import { expectRefusal } from '../../kit/ca/talk.ts';
import { withMemoryKeys } from '../../kit/observe/agent.ts';
import { refusal } from '../../kit/refusal.ts';

const DOMAIN = `spiffe://${TRUST_DOMAIN}`;
const trustDomain = parseTrustDomain(TRUST_DOMAIN);
const context = { trustDomain, platforms: new Set(['gcp', 'unix', 'tpm']), version: 0 };
const identity = (name: string, id: string, platform = 'unix') => ({ kind: 'Identity', name, platform, id });
const server = (name: string, id: string) => ({ kind: 'McpServer', name, identity: id, address: 'a:1' });
const read = (resources: readonly object[], more = {}) => {
  const text = resources.map((each) => stringify(each)).join('---\n');
  return readResources([{ name: 'a.yaml', text }], { ...context, ...more });
};
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

describe('I50 a reserved name', () => {
  test.each<[string, object]>([
    ['of an identity', identity('a', `${DOMAIN}/chancery/ca`)],
    ['that begins a template', identity('a', `${DOMAIN}/chancery/{uid}`)],
    ['of a server', server('a', `${DOMAIN}/chancery/ca/eu-1`)],
    [
      'in a pattern',
      { kind: 'Access', name: 'a', who: [`${DOMAIN}/chancery/**`], servers: ['s'], tools: { allow: ['*'] } },
    ],
  ])('%s is refused when resources are read', async (_, resource) => {
    const set = [resource, server('s', `${DOMAIN}/s`)];
    await expect(read(set)).rejects.toThrow(
      refusal('resource', /\/chancery is reserved for the trust domain itself/),
    );
  });

  test('that attributes would make is not earned, and another identity is', async () => {
    const facts = { platform: 'gcp', attributes: { group: 'chancery', vm: 'ca' } };
    const set = await read([
      identity('a', `${DOMAIN}/{group}/{vm}`, 'gcp'),
      identity('b', `${DOMAIN}/vm/{vm}`, 'gcp'),
    ]);
    const { spiffeIds, lines } = explainFacts(set, facts, new Date());
    expect(spiffeIds).toEqual([`${DOMAIN}/vm/ca`]);
    expect(lines).toContainEqual(
      expect.stringMatching(/chancery\/ca is reserved for the trust domain itself/),
    );
  });

  test('is not earned from resources that were stored before it was reserved', () => {
    const stored = IdentityResource.parse(identity('a', `${DOMAIN}/chancery/ca`));
    const earn = () => compileIdentity(stored, trustDomain).earn({ platform: 'unix', attributes: {} });
    expect(earn).toThrow(refusal('no_identity', /reserved/));
  });

  test.each(['ca', 'ca/eu-1', 'operator/ann', 'other'])(
    '/chancery/%s is not issued to a workload',
    async (name) => {
      const made = await makeAuthorities();
      const id = parseSpiffeId(`spiffe://prod.example/chancery/${name}`);
      const order = { id, platform: 'fake', node: 'n', identity: 'a', ttlSeconds: 60, dnsNames: [] };
      const issuing = issue({ ...order, key: await proven() }, made);
      await expect(issuing).rejects.toThrow(refusal('no_identity', /reserved/));
    },
  );

  test.each([
    ['/**', 'chancery/ca'],
    ['/*/ca', 'chancery/ca'],
    ['/chancery/ca', 'chancery/ca'],
    ['/chancery/*', 'chancery/ca'],
  ])('is matched by no pattern: %s', (pattern, path) => {
    expect(compileSpiffePattern(`${DOMAIN}${pattern}`)(parseSpiffeId(`${DOMAIN}/${path}`))).toBe(false);
  });

  test('a stored rule about one still compiles, and allows nothing', () => {
    const rule = {
      name: 'r',
      who: [`${DOMAIN}/chancery/ca`],
      servers: ['s'],
      tools: { allow: ['*'], deny: [] },
    };
    const policy = compilePolicy([{ kind: 'Access', ...rule }], 1n);
    expect(policy.rulesFor({ caller: parseSpiffeId(`${DOMAIN}/chancery/ca`) }, 's').entrance).toBeUndefined();
  });

  test('is not asked for, and its holder asks for nothing', async () => {
    const ca = await startedCa();
    const attest = openAttest(ca);
    attest.send(await helloMessage({ spiffeId: `${DOMAIN}/chancery/ca` }));
    await expectRefusal(ca, await attest.status(), 'not_entitled', /chancery\/ca is reserved/);
    attest.close();
    const own = await ca.authority('intermediate');
    const { makeLeaf } = await import('../../kit/certificates.ts');
    const now = Math.floor(Date.now() / 1000) * 1000;
    const fields = { notBefore: new Date(now), notAfter: new Date(now + 60_000) };
    const stolen = makeLeaf(`${DOMAIN}/chancery/ca`, own, { fields });
    const chain = [stolen.certificate.der, own.certificate.der];
    const svid = { ...(await joinAs(ca)), chain, key: stolen.key };
    const error = await issueOne(ca, svid).catch((refused) => refused);
    await expectRefusal(ca, error, 'wrong_peer', /chancery\/ca is reserved/);
  });
});

describe('I55 a template that can give what another resource states', () => {
  const wide = identity('wide', `${DOMAIN}/{group}/{vm}`, 'gcp');
  const own = identity('own', `${DOMAIN}/tools/github`, 'tpm');
  const github = server('github', `${DOMAIN}/tools/github`);

  test('a server’s SPIFFE ID on another platform is refused, unless told', async () => {
    const says =
      /^a\.yaml:4: Identity\/wide can give .*\/tools\/github, which is that of McpServer\/github, to nodes of gcp; Identity\/own gives it on tpm; narrow id, or pass --allow-shared-server-ids$/;
    await expect(read([wide, own, github])).rejects.toThrow(refusal('resource', says));
    const { warnings } = await read([wide, own, github], { allowSharedServerIds: true });
    expect(warnings).toHaveLength(2);
  });

  test('so is one that two templates give on two platforms', async () => {
    const other = identity('other', `${DOMAIN}/tools/{name}`, 'tpm');
    await expect(read([wide, other, github])).rejects.toThrow(
      refusal('resource', /to nodes of gcp; Identity\/other/),
    );
  });

  test('one that demands the server’s platform too is accepted with a warning', async () => {
    const { platform: _, ...rest } = wide;
    const both = { ...rest, id: `${DOMAIN}/{gcp.group}/{gcp.vm}`, platforms: ['gcp', 'tpm'] };
    expect((await read([both, own, github])).warnings).toEqual([
      `Identity/wide can give ${DOMAIN}/tools/github, which is that of Identity/own`,
      `Identity/wide can give ${DOMAIN}/tools/github, which is that of McpServer/github`,
    ]);
  });

  test.each([
    ['another literal', `${DOMAIN}/tools/{vm}`, 1],
    ['a part of a segment', `${DOMAIN}/to{group}/git{vm}`, 1],
    ['a longer name', `${DOMAIN}/tools/{group}/{vm}`, 0],
    ['a name that ends otherwise', `${DOMAIN}/{group}/{vm}-1`, 0],
    ['nothing left for an attribute', `${DOMAIN}/tools/github{vm}`, 0],
  ])('%s', async (_, id, count) => {
    expect((await read([identity('t', id, 'gcp'), own])).warnings).toHaveLength(count);
  });
});

describe('I52 a revoked certificate of the CA', () => {
  test('is replaced at once, and agents leave it and trust no peer that shows it', async () => {
    const ca = await startedCa();
    const errors: object[] = [];
    const log = { ...silentLog, error: (fields: object) => void errors.push(fields) };
    const agent = await startedAgent(ca, log);
    await vi.waitFor(async () => expect(await ca.agentsUntil()).toHaveLength(1));
    const before = await ownSerials(ca);
    await ca.revoke('serial', before.at(-1) ?? '');
    await vi.waitFor(async () => expect(await ownSerials(ca)).toHaveLength(before.length + 1));
    await vi.waitFor(() => expect(errors).toContainEqual(revokedError));
    // The agent is back by the new certificate, and follows.
    await ca.apply(identity('workload', `${DOMAIN}/workload`), server('late', `${DOMAIN}/late`));
    await ca.apply(identity('workload', `${DOMAIN}/workload`), server('own', `${DOMAIN}/workload`));
    await vi.waitFor(() => expect([...agent.trust.policy.current().servers.keys()]).toEqual(['own']));
  });

  test('I97 is known to an agent whose saved certificate cannot be used, before the CA is asked', async () => {
    const ca = await startedCa();
    const [serial = ''] = await ownSerials(ca);
    const first = await startedAgent(ca, silentLog);
    await ca.revoke('serial', serial);
    const isKnown = (agent: typeof first) =>
      agent.trust.revocations
        .current()
        .revoked({ id: parseSpiffeId(`${DOMAIN}/chancery/ca`), serial }, new Date()) !== undefined;
    await vi.waitFor(() => expect(isKnown(first)).toBe(true));
    await first.close();
    await ca.apply(identity('another', `${DOMAIN}/another`));
    const again = await startedAgent(ca, silentLog, `${DOMAIN}/another`);
    // No snapshot can have come yet.
    expect(isKnown(again)).toBe(true);
  });
});

const revokedError = expect.objectContaining({ err: expect.objectContaining({ code: 'revoked_peer' }) });

async function startedCa(): Promise<TestCa> {
  const ca = await startTestCa({});
  closing.push(() => ca.close());
  await ca.apply(identity('workload', `${DOMAIN}/workload`));
  return ca;
}

async function startedAgent(ca: TestCa, log: typeof silentLog, id?: string) {
  const bundle = joinPath(ca.dir, 'bundle.pem');
  writeFileSync(bundle, ca.bundle.authorities.map((der) => writePem('CERTIFICATE', der)).join(''));
  const file = joinPath(ca.dir, 'agent.yaml');
  const address = `127.0.0.1:${ca.running.port}`;
  const config = { trustDomain, ca: { address, bundle, socket: ca.joinSocket }, evidence: { unix: {} } };
  writeFileSync(file, stringify({ ...config, ...(id && { id }), dataDir: joinPath(ca.dir, 'agent') }));
  const deps = { clock: systemClock, random: Math.random, randomBytes, log, env: {}, version: 'test' };
  const agent = withMemoryKeys(await startAgent(readAgentConfig(file), deps, AbortSignal.timeout(60_000)));
  closing.push(() => agent.close());
  return agent;
}

const ownSerials = async ({ store }: TestCa): Promise<readonly string[]> =>
  (await store.issued({ limit: 1000 }))
    .filter(({ platform }) => platform === 'self')
    .map(({ serial }) => serial)
    .toReversed();

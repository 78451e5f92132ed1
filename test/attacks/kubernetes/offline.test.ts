/** Rows C33, C38 to C42 where the cluster is not asked: tokens are verified by its keys, from a file or discovered. */
import type { Attestor } from '@chancery/ca/attestors/attestor.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { proven } from '../../kit/ca/authority.ts';
import { COMMON_ISSUER } from '../../kit/kubernetes/cluster.ts';
import { attestPod, type KubernetesWorld, OURS, startKubernetesWorld } from '../../kit/kubernetes/world.ts';
import { refusal } from '../../kit/refusal.ts';

let world: KubernetesWorld;
let attestor: Attestor;
const FILE = { review: undefined, jwks: { issuer: COMMON_ISSUER, file: 'jwks.json' } };
beforeAll(async () => {
  world = await startKubernetesWorld();
  world.files.set('jwks.json', JSON.stringify(world.server.cluster.signer.jwks()));
  attestor = await world.attestor(FILE);
});
afterAll(() => world.close());

const claims = (changes: object) => ({ ...world.server.cluster.claimsFor(world.pod, [OURS]), ...changes });

describe('keys from a file', () => {
  test('a genuine token gives the pod, and nobody is asked', async () => {
    const before = world.server.seen.length;
    expect(await attestPod(world, attestor)).toMatchObject({
      node: world.pod.uid,
      attributes: { cluster: 'eu-1', namespace: 'agents', nodeName: 'node-1' },
    });
    expect(world.server.seen.length).toBe(before);
  });

  test('one that carries the binding passes where that is required', async () => {
    const required = await world.attestor({ ...FILE, binding: 'required' });
    const token = (audience: string) => world.server.cluster.tokenFor(world.pod, [audience]);
    await attestPod(world, required, { token });
    await expect(attestPod(world, required)).rejects.toEqual(refusal('k8s_audience', /required here/));
  });

  test('C41 a token of another cluster with the same iss', async () => {
    const other = await startKubernetesWorld();
    const token = other.server.cluster.tokenFor(other.pod, [OURS]);
    expect(other.server.cluster.issuer).toBe(COMMON_ISSUER);
    await expect(attestPod(world, attestor, { token })).rejects.toEqual(
      refusal('jwt_signature', /the issuer has no key/),
    );
    await other.close();
  });

  test('C41 signed by another cluster under this one’s key name', async () => {
    const other = await startKubernetesWorld();
    const { kid } = world.server.cluster.signer;
    const token = other.server.cluster.signer.sign(claims({}), { alg: 'RS256', kid });
    await expect(attestPod(world, attestor, { token })).rejects.toEqual(
      refusal('jwt_signature', /does not verify/),
    );
    await other.close();
  });

  test.each([
    { name: 'another issuer', changes: { iss: `${COMMON_ISSUER}/` }, code: 'issuer_unknown', says: /iss is/ },
    {
      name: 'nbf tomorrow',
      changes: { nbf: Math.floor(Date.now() / 1000) + 86_400 },
      code: 'jwt_time',
      says: /nbf/,
    },
  ] as const)('refuses $name', async ({ changes, code, says }) => {
    const token = world.server.cluster.signer.sign(claims(changes));
    await expect(attestPod(world, attestor, { token })).rejects.toEqual(refusal(code, says));
  });

  test('C38 unbound and legacy tokens', async () => {
    for (const token of [
      world.server.cluster.unboundToken(world.account, [OURS]),
      world.server.cluster.legacyToken(world.account),
    ])
      await expect(attestPod(world, attestor, { token })).rejects.toEqual(refusal('k8s_unbound', /./));
  });

  test('C42 a token belongs to the first key that came with it', async () => {
    const token = world.server.cluster.tokenFor(world.pod, [OURS]);
    await attestPod(world, attestor, { token, key: await proven() });
    await expect(attestPod(world, attestor, { token })).rejects.toEqual(refusal('jti_replay', /another key/));
  });

  test('C40 a deleted pod’s token lasts until it ends: what this way does not see', async () => {
    const pod = world.server.cluster.addPod(world.account, 'gone', undefined);
    const token = world.server.cluster.tokenFor(pod, [OURS]);
    world.server.cluster.deletePod(pod);
    await attestPod(world, attestor, { token, key: await proven() });
    world.clock.move(631);
    await expect(attestPod(world, attestor, { token })).rejects.toEqual(refusal('jwt_time', /has expired/));
    world.clock.move(-631);
  });

  test('tokens of a Pending pod and of a deleted account pass: what this way does not see', async () => {
    const { cluster } = world.server;
    const account = cluster.addAccount('agents', 'short-lived');
    const pod = { ...cluster.addPod(account, 'pending', undefined), phase: 'Pending' as const };
    cluster.pods.set('agents/pending', pod);
    const token = cluster.tokenFor(pod, [OURS]);
    cluster.accounts.delete('agents/short-lived');
    expect(await attestPod(world, attestor, { token })).toMatchObject({ node: pod.uid });
  });

  test.each([
    { name: 'is not there', file: 'no.json', says: /^attestors.kubernetes\/eu-1: no.json: ENOENT/ },
    {
      name: 'is not JSON',
      file: 'kubeconfig',
      says: /^attestors.kubernetes\/eu-1: kubeconfig: a value is expected/,
    },
  ])('a file that $name refuses at load', async ({ file, says }) => {
    await expect(world.attestor({ ...FILE, jwks: { issuer: COMMON_ISSUER, file } })).rejects.toEqual(
      refusal('config', says),
    );
  });
});

describe('keys that are discovered', () => {
  let managed: KubernetesWorld;
  beforeAll(async () => {
    managed = await startKubernetesWorld(true);
    managed.files.set('ca.pem', managed.server.caPem);
  });
  afterAll(() => managed.close());
  const discovering = (more: object = { ca: 'ca.pem' }) =>
    managed.attestor({ review: undefined, jwks: { issuer: managed.server.url, ...more } });

  test('at the configured issuer', async () => {
    expect(await attestPod(managed, await discovering())).toMatchObject({ node: managed.pod.uid });
    expect(managed.server.seen.map(({ path }) => path)).toEqual([
      '/.well-known/openid-configuration',
      '/openid/v1/jwks',
    ]);
  });

  test('whose certificate must be good', async () => {
    const attempt = attestPod(managed, await discovering({}));
    await expect(attempt).rejects.toEqual(refusal('keys_unavailable', /certificate/));
  });

  test.each([
    {
      name: 'C33 another issuer',
      text: '{"issuer":"https://other.example"}',
      says: /is for issuer "https:\/\/other/,
    },
    { name: 'no keys', text: '{}', says: /is for issuer undefined/ },
  ])('which must not tell of $name', async ({ text, says }) => {
    managed.server.spoil(/openid-configuration/, { kind: 'body', status: 200, text });
    await expect(attestPod(managed, await discovering())).rejects.toEqual(refusal('keys_unavailable', says));
    managed.server.spoil(/openid-configuration/, undefined);
  });

  test('where everybody is told them: most clusters answer only their own pods', async () => {
    managed.server.spoil(/openid-configuration/, { kind: 'status', status: 403 });
    await expect(attestPod(managed, await discovering())).rejects.toEqual(
      refusal('keys_unavailable', /answered 403, expected 200/),
    );
    managed.server.spoil(/openid-configuration/, undefined);
  });
});

/**
 * Rows C42 to C44 and what surrounds them: tokens that come back with another key, an API server that is not well, what
 * is kept and said of tokens, and kubeconfigs that would give our credentials away.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Attestor } from '@chancery/ca/attestors/attestor.ts';
import { KubernetesConfig } from '@chancery/ca/attestors/kubernetes/config.ts';
import { boundedLibrary, Connections } from '@chancery/ca/attestors/kubernetes/transport.ts';
import { kubernetesAttestor } from '@chancery/ca/attestors/kubernetes.ts';
import { nodeMemory } from '@chancery/ca/store/node-memory.ts';
import { openSqlite } from '@chancery/ca/store/sqlite/sqlite.ts';
import { attestationBinding } from '@chancery/shared/evidence/binding.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { proven } from '../../kit/ca/authority.ts';
import { startStranger } from '../../kit/kubernetes/api-server.ts';
import { kubeconfigOf } from '../../kit/kubernetes/kubeconfig.ts';
import type { Trouble } from '../../kit/kubernetes/trouble.ts';
import {
  answerOf,
  attestPod,
  type KubernetesWorld,
  OURS,
  podEvidence,
  startKubernetesWorld,
} from '../../kit/kubernetes/world.ts';
import { makeFolder, removeFolder } from '../../kit/processes.ts';
import { refusal } from '../../kit/refusal.ts';

let world: KubernetesWorld;
let attestor: Attestor;
const folder = makeFolder();
beforeAll(async () => {
  world = await startKubernetesWorld();
  attestor = await world.attestor();
});
afterAll(async () => {
  await world.close();
  removeFolder(folder);
});
const plain = (): string => world.server.cluster.tokenFor(world.pod, [OURS]);

describe('C42 a token belongs to the first key that came with it', () => {
  test('another key is refused, the same one is not', async () => {
    const [token, key] = [plain(), await proven()];
    await attestPod(world, attestor, { token, key });
    await expect(attestPod(world, attestor, { token })).rejects.toEqual(
      refusal('jti_replay', /of kubernetes\/eu-1 was used with another key/),
    );
    await attestPod(world, attestor, { token, key });
  });

  test('for as long as any clock would take it, and in a CA that was restarted', async () => {
    const dir = makeFolder();
    const [token, key] = [plain(), await proven()];
    const jti = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).jti;
    const open = () => openSqlite(`${dir}/ca.db`, world.clock);
    const name = { platform: 'kubernetes/eu-1', id: jti };
    const first = await open();
    const until: Date[] = [];
    const memory = {
      advance: async () => {},
      bind: async (...[of, sha256, end]: Parameters<typeof first.bind>) => {
        until.push(end);
        await first.bind(of, sha256, end);
      },
    };
    await attestPod(world, await world.attestor({}, undefined, memory), { token, key });
    await first.close();
    const again = await open();
    world.clock.move(629);
    await again.prune(world.clock.now());
    const other = await proven();
    await expect(again.bind(name, other.sha256, new Date())).rejects.toEqual(
      refusal('jti_replay', /another key/),
    );
    world.clock.move(-629);
    expect(until[0]?.getTime()).toBeGreaterThanOrEqual(world.clock.now().getTime() + 650_000);
    await again.close();
    removeFolder(dir);
  });

  test('a token that carries a binding is for that key and that exchange', async () => {
    const [key, other] = [await proven(), await proven()];
    const nonce = (fill: number) => new Uint8Array(32).fill(fill);
    const seen: string[] = [];
    const token = (audience: string) => {
      seen.push(world.server.cluster.tokenFor(world.pod, [audience]));
      return seen.at(-1) ?? '';
    };
    await attestPod(world, attestor, { key, nonce: nonce(1), token });
    const captured = seen[0] ?? '';
    const replays = [
      { key: other, nonce: nonce(1) },
      { key, nonce: nonce(2) },
      { key: other, nonce: nonce(2) },
    ];
    for (const replay of replays)
      await expect(attestPod(world, attestor, { ...replay, token: captured })).rejects.toEqual(
        refusal('k8s_audience', /not for this exchange nor/),
      );
  });

  test('a plain one is refused where the binding is required', async () => {
    const required = await world.attestor({ binding: 'required' });
    await expect(attestPod(world, required)).rejects.toEqual(
      refusal('k8s_audience', /which is required here/),
    );
  });
});

describe('C53 an answer that contradicts itself', () => {
  afterEach(() => {
    world.server.spoil(/tokenreviews/, undefined);
    world.server.spoil(/\/pods\//, undefined);
  });
  const at = (name: 'status' | 'metadata', changes: object): Trouble => ({
    kind: 'changed',
    change: (body) => ({ ...body, [name]: { ...(body as Record<string, object>)[name], ...changes } }),
  });

  test('authenticated, and an error', async () => {
    world.server.spoil(/tokenreviews/, at('status', { error: 'a webhook failed' }));
    await expect(attestPod(world, attestor)).rejects.toEqual(refusal('k8s_cluster', /a webhook failed/));
  });

  test.each<[string, object, RegExp]>([
    ['a pod that is being deleted', { deletionTimestamp: '2026-01-01T00:00:00Z' }, /is being deleted/],
    ['a pod under another name', { name: 'other' }, /answered with another name/],
    ['a pod of another namespace', { namespace: 'other' }, /answered with another name/],
  ])('%s', async (_, changes, says) => {
    world.server.spoil(/\/pods\//, at('metadata', changes));
    await expect(attestPod(world, attestor)).rejects.toEqual(refusal('k8s_pod', says));
  });
});

describe('C43 an API server that is not well', () => {
  afterEach(() => {
    world.server.spoil(/tokenreviews/, undefined);
    world.server.spoil(/\/pods\//, undefined);
  });
  const rows: readonly { name: string; trouble: Trouble; says: RegExp }[] = [
    { name: '401', trouble: { kind: 'status', status: 401 }, says: /the API server answered 401$/ },
    { name: '403', trouble: { kind: 'status', status: 403 }, says: /the API server answered 403$/ },
    { name: '500', trouble: { kind: 'status', status: 500 }, says: /the API server answered 500$/ },
    {
      name: '200 that is not JSON',
      trouble: { kind: 'body', text: '<html>' },
      says: /the answer is not JSON$/,
    },
    { name: 'a body without status', trouble: { kind: 'body', text: '{}' }, says: /of another shape/ },
    { name: 'a list', trouble: { kind: 'body', text: '[]' }, says: /of another shape/ },
    { name: 'null', trouble: { kind: 'body', text: 'null' }, says: /of another shape: all of it/ },
    { name: 'no answer', trouble: { kind: 'hang' }, says: /no whole answer in 1 s/ },
    { name: 'a byte now and then', trouble: { kind: 'drip' }, says: /no whole answer in 1 s/ },
    { name: '3 MiB', trouble: { kind: 'huge', bytes: 3 * 2 ** 20 }, says: /longer than 2097152 bytes/ },
  ];
  test.each(rows)('$name, to a review: nobody joins', async ({ trouble, says }) => {
    world.server.spoil(/tokenreviews/, trouble);
    await expect(attestPod(world, attestor)).rejects.toEqual(
      refusal('platform_unavailable', new RegExp(`^TokenReview: .*${says.source}`)),
    );
  });
  // A pod that the API server does not know is an answer: kubernetes.test.ts, C40.
  test.each(rows)('$name, to a look at the pod: nobody joins', async ({ trouble, says }) => {
    world.server.spoil(/\/pods\//, trouble);
    await expect(attestPod(world, attestor)).rejects.toEqual(
      refusal('platform_unavailable', new RegExp(`^pod agents/billing-0: .*${says.source}`)),
    );
  });

  test.each([301, 302, 303, 307, 308])('a redirect %i takes nothing of ours along', async (status) => {
    const stranger = await startStranger({ status: { authenticated: true, audiences: [OURS] } });
    for (const path of [/tokenreviews/, /\/pods\//]) {
      world.server.spoil(path, { kind: 'redirect', status, to: `${stranger.url}/elsewhere` });
      await expect(attestPod(world, attestor)).rejects.toEqual(
        refusal('platform_unavailable', new RegExp(`the API server answered ${status}$`)),
      );
      world.server.spoil(path, undefined);
    }
    expect(stranger.seen).toEqual([]);
    await stranger.close();
  });

  test.each([
    { name: 'once, on a kept connection: asked again on another', kept: true, left: 1, says: undefined },
    { name: 'twice: refused', kept: true, left: 2, says: /other side closed/ },
    { name: 'once, on the first connection: refused', kept: false, left: 1, says: /other side closed/ },
  ])(
    'one that closes a connection in the moment in which it is used, $name',
    async ({ kept, left, says }) => {
      const own = await world.attestor();
      if (kept) await attestPod(world, own);
      world.server.spoil(/tokenreviews/, { kind: 'cut', left });
      const attempt = attestPod(world, own);
      if (says === undefined) expect(await attempt).toMatchObject({ node: world.pod.uid });
      else await expect(attempt).rejects.toEqual(refusal('platform_unavailable', says));
    },
  );

  test('one that is gone', async () => {
    const other = await startKubernetesWorld();
    const orphan = await other.attestor();
    await other.server.close();
    await expect(attestPod(other, orphan)).rejects.toEqual(refusal('platform_unavailable', /ECONNREFUSED/));
    other.outbound.close();
    await other.store.close();
  });

  test('one with another CA', async () => {
    const other = await startKubernetesWorld();
    const config = kubeconfigOf({ ...world.server, caPem: OTHER_CA }, world.reviewer);
    world.files.set('wrong-ca', config);
    const wrong = await world.attestor({ review: { kubeconfig: 'wrong-ca' } });
    await expect(attestPod(world, wrong)).rejects.toEqual(refusal('platform_unavailable', /certificate/));
    await other.close();
  });

  test('our credentials are read again within a minute', async () => {
    world.files.set('rotated', kubeconfigOf(world.server, 'x.y.z'));
    const rotating = await world.attestor({ review: { kubeconfig: 'rotated' } });
    await expect(attestPod(world, rotating)).rejects.toEqual(refusal('platform_unavailable', /answered 401/));
    world.files.set('rotated', kubeconfigOf(world.server, world.reviewer));
    world.clock.move(60);
    expect(await attestPod(world, rotating)).toMatchObject({ node: world.pod.uid });
    world.files.set('rotated', '{}');
    world.clock.move(60);
    await expect(attestPod(world, rotating)).rejects.toEqual(
      refusal('platform_unavailable', /no context undefined/),
    );
    world.clock.move(-120);
  });

  test('I90 our credentials are read again when the clock was set back', async () => {
    world.clock.move(7200);
    world.files.set('set-back', kubeconfigOf(world.server, 'x.y.z'));
    const setBack = await world.attestor({ review: { kubeconfig: 'set-back' } });
    world.files.set('set-back', kubeconfigOf(world.server, world.reviewer));
    world.clock.move(-7200);
    expect(await attestPod(world, setBack)).toMatchObject({ node: world.pod.uid });
  });

  test('a credential helper that hangs is waited for no longer than an answer, and run once', async () => {
    const [marks, stop] = [join(folder, 'marks'), join(folder, 'stop')];
    const script = `echo begun >> ${marks}; while [ ! -e ${stop} ]; do sleep 0.05; done; echo ended >> ${marks}`;
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: '/bin/sh',
      args: ['-c', script],
    };
    world.files.set(
      'hanging',
      kubeconfigOf(world.server, world.reviewer).replace(/token: .*/, `exec: ${JSON.stringify(exec)}`),
    );
    const hanging = await world.attestor({ review: { kubeconfig: 'hanging', timeout: '1s' } });
    const attempts = await Promise.allSettled(Array.from({ length: 5 }, () => attestPod(world, hanging)));
    for (const attempt of attempts)
      expect(attempt).toMatchObject({
        status: 'rejected',
        reason: refusal('platform_unavailable', /no whole answer in 1 s/),
      });
    expect(readFileSync(marks, 'utf8')).toBe('begun\n');
    writeFileSync(stop, '');
    await vi.waitFor(() => expect(readFileSync(marks, 'utf8')).toBe('begun\nended\n'));
    // It has ended without an error, and has said nothing that could be used.
    await expect(attestPod(world, hanging)).rejects.toEqual(refusal('platform_unavailable', /JSON/));
  });

  test('a credential helper’s token is used', async () => {
    const status = {
      apiVersion: 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      status: { token: world.reviewer },
    };
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: '/bin/echo',
      args: [JSON.stringify(status)],
    };
    world.files.set(
      'helped',
      kubeconfigOf(world.server, '').replace(/token: .*/, `exec: ${JSON.stringify(exec)}`),
    );
    const helped = await world.attestor({ review: { kubeconfig: 'helped' } });
    expect(await attestPod(world, helped)).toMatchObject({ node: world.pod.uid });
  });

  test('outside a cluster there is no such pod', async () => {
    await expect(world.attestor({ review: {} })).rejects.toEqual(
      refusal(
        'config',
        /^attestors.kubernetes\/eu-1.review: the pod that the CA runs in: KUBERNETES_SERVICE_HOST is not set/,
      ),
    );
  });
});

const OTHER_CA = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';

describe('C44 a token is in no message', () => {
  const trouble: readonly Trouble[] = [
    { kind: 'status', status: 403 },
    { kind: 'body', text: '{"status":{"authenticated":"x"}}' },
    { kind: 'hang' },
    {
      kind: 'changed',
      change: (body) => {
        const { spec } = body as { spec: { token: string } };
        return { ...body, status: { error: `no good: ${spec.token}`, authenticated: false } };
      },
    },
    { kind: 'changed', change: (body) => ({ ...body, status: (body as { spec: object }).spec }) },
  ];
  test.each(trouble)('after %j', async (each) => {
    world.server.spoil(/tokenreviews/, each);
    const token = plain();
    const error: Error = await attestPod(world, attestor, { token }).then(
      () => expect.fail('it passed'),
      (thrown) => thrown,
    );
    world.server.spoil(/tokenreviews/, undefined);
    const said = `${error.message} ${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`;
    const parts = [...token.split('.'), ...world.reviewer.split('.').slice(1)];
    expect(parts.filter((part) => said.includes(part))).toEqual([]);
  });
});

describe('a kubeconfig that would give our credentials away, or has none, refuses at load', () => {
  const cluster = () => ({
    server: world.server.url,
    'certificate-authority-data': Buffer.from(world.server.caPem).toString('base64'),
  });
  const rows = [
    { name: 'no such file', text: undefined, says: /ENOENT/ },
    { name: 'no YAML', text: () => '{', says: /^attestors.kubernetes\/eu-1.review: kubeconfig spoiled: / },
    { name: 'nothing', text: () => '{}', says: /no context undefined with/ },
    {
      name: 'no check of the server',
      text: () => made({ ...cluster(), 'insecure-skip-tls-verify': true }),
      says: /insecure-skip-tls-verify would send/,
    },
    { name: 'no CA', text: () => made({ server: world.server.url }), says: /no certificate-authority/ },
    {
      name: 'no TLS',
      text: () => made({ ...cluster(), server: 'http://localhost:1' }),
      says: /which is no https address/,
    },
    {
      name: 'no credentials',
      text: () => made(cluster(), { tokenFile: '/token' }),
      says: /no credentials that the client/,
    },
    {
      name: 'a relative path',
      text: () => made({ server: world.server.url, 'certificate-authority': 'ca.crt' }),
      says: /paths in it must be absolute/,
    },
    {
      name: 'I72 a file that the CA refuses',
      text: () => made({ server: world.server.url, 'certificate-authority': '/refused/ca.crt' }),
      says: /^attestors\.kubernetes\/eu-1: \/refused\/ca\.crt: /,
    },
  ];
  const made = (own: object, user: object = { token: 'x' }): string =>
    stringify({
      clusters: [{ name: 'c', cluster: own }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    });
  test.each(rows)('$name', async ({ text, says }) => {
    world.files.delete('spoiled');
    if (text !== undefined) world.files.set('spoiled', text());
    await expect(world.attestor({ review: { kubeconfig: 'spoiled' } })).rejects.toEqual(
      refusal('config', says),
    );
  });

  test('a context that it does not have', async () => {
    const attempt = world.attestor({ review: { kubeconfig: 'kubeconfig', context: 'us-1' } });
    await expect(attempt).rejects.toEqual(refusal('config', /no context "us-1"/));
  });

  test.each([
    { name: 'an empty audience', config: { audience: '' }, says: /an empty audience/ },
    { name: 'neither way', config: { review: undefined }, says: /write either review/ },
    {
      name: 'both ways',
      config: { jwks: { issuer: 'https://issuer.example' } },
      says: /write either review/,
    },
    {
      name: 'an issuer without TLS',
      config: { review: undefined, jwks: { issuer: 'http://x.example' } },
      says: /https/,
    },
    {
      name: 'an account without namespace',
      config: { serviceAccounts: ['billing'] },
      says: /NAMESPACE\/NAME/,
    },
    { name: 'an unknown key', config: { audiences: [] }, says: /Unrecognized key/ },
  ])('a config with $name', async ({ config, says }) => {
    await expect(async () => await world.attestor(config)).rejects.toThrow(says);
  });
});

describe('what the config and the kubeconfig rule out is refused all the same', () => {
  test('no way to ask', async () => {
    const config = { ...KubernetesConfig.parse({ review: {} }), review: undefined };
    const { clock, store, outbound } = world;
    const known = { clock, memory: nodeMemory(store), outbound, log: silentLog };
    const deps = { ...known, trustDomain: parseTrustDomain('test.example') };
    const attempt = kubernetesAttestor(config, {
      ...deps,
      type: 'kubernetes/x',
      readFile: () => new Uint8Array(),
    });
    await expect(attempt).rejects.toEqual(refusal('config', /^kubernetes\/x: neither review nor jwks/));
  });

  test('a request without the cluster’s CA', async () => {
    const client = await import('@kubernetes/client-node');
    const [connections, credentials] = [new Connections(), new client.KubeConfig()];
    const travel = { connections, credentials, signal: AbortSignal.timeout(1_000), maxBytes: 1 };
    const request = new client.RequestContext(world.server.url, client.HttpMethod.GET);
    const sent = boundedLibrary(client, travel).send(request);
    await expect(sent.toPromise()).rejects.toEqual(refusal('config', /names no certificate-authority/));
  });
});

describe('the agent', () => {
  const bindingOf = (fill: number): Uint8Array =>
    attestationBinding('test.example', new Uint8Array(32).fill(fill), new Uint8Array());

  test('C43 takes its own token to no redirect', async () => {
    const stranger = await startStranger({ status: { token: 'x' } });
    world.server.spoil(/\/token$/, { kind: 'redirect', status: 307, to: stranger.url });
    await expect(answerOf(podEvidence(world).source, bindingOf(1))).rejects.toEqual(
      refusal('platform_unavailable', /^TokenRequest for agents\/billing: the API server answered 307$/),
    );
    world.server.spoil(/\/token$/, undefined);
    expect(stranger.seen).toEqual([]);
    await stranger.close();
  });

  test('says which right is missing', async () => {
    const other = await startKubernetesWorld();
    const { cluster } = other.server;
    const pod = cluster.addPod(cluster.addAccount('agents', 'plain'), 'plain-0', undefined);
    const { source } = podEvidence({ ...other, pod });
    await expect(answerOf(source, bindingOf(1))).rejects.toEqual(
      refusal(
        'platform_unavailable',
        /answered 403: User "system:serviceaccount:agents:plain" cannot create/,
      ),
    );
    await other.close();
  });

  test.each([
    { name: 'no token', text: '{"status":{}}', says: /without a token/ },
    { name: 'no object', text: '[]', says: /not an object/ },
    { name: 'no JSON', text: 'no', says: /a value is expected/ },
  ])('refuses an answer with $name', async ({ text, says }) => {
    world.server.spoil(/\/token$/, { kind: 'body', text });
    await expect(answerOf(podEvidence(world).source, bindingOf(1))).rejects.toEqual(
      refusal('platform_unavailable', says),
    );
    world.server.spoil(/\/token$/, undefined);
  });
});

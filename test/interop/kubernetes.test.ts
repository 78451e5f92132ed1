/**
 * The stand-in for a Kubernetes API server, in the hands of the official client as it comes: what the real server does,
 * the client must get here too, good and bad. docs/attestors/stand-ins.md says where each rule is from.
 */
import { AuthenticationV1Api, CoreV1Api, KubeConfig } from '@kubernetes/client-node';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { MovableClock } from '../kit/clock.ts';
import { type ApiServer, startApiServer, startStranger } from '../kit/kubernetes/api-server.ts';
import { type Account, COMMON_ISSUER, DEFAULT_TOKEN_SECONDS, type Pod } from '../kit/kubernetes/cluster.ts';
import { kubeconfigOf } from '../kit/kubernetes/kubeconfig.ts';
import { usernameOf } from '../kit/kubernetes/tokens.ts';

const OURS = 'chancery://test.example';
const clock = new MovableClock();
let server: ApiServer;
let account: Account;
let pod: Pod;
let ownToken: string;
beforeAll(async () => {
  server = await startApiServer({ clock });
  const { cluster } = server;
  const node = cluster.addNode('node-1');
  account = cluster.addAccount('agents', 'billing');
  pod = cluster.addPod(account, 'billing-0', node);
  const ca = cluster.addAccount('chancery', 'ca');
  ownToken = cluster.tokenFor(cluster.addPod(ca, 'ca-0', node), [COMMON_ISSUER], DEFAULT_TOKEN_SECONDS);
  server.allow(usernameOf('chancery', 'ca'), 'create tokenreviews', 'get pods', 'get nodes');
  server.allow(usernameOf('chancery', 'ca'), 'create serviceaccounts/token agents/billing');
});
afterAll(() => server.close());
beforeEach(() => server.spoil(/./, undefined));

function clients(token = ownToken) {
  const config = new KubeConfig();
  config.loadFromString(kubeconfigOf(server, token));
  return { auth: config.makeApiClient(AuthenticationV1Api), core: config.makeApiClient(CoreV1Api) };
}

const review = async (token: string, audiences: string[] = [OURS]) =>
  (await clients().auth.createTokenReview({ body: { spec: { token, audiences } } })).status;

const statusOf = (attempt: Promise<unknown>): Promise<number> =>
  attempt.then(
    () => 200,
    (error: { code: number }) => error.code,
  );

describe('TokenReview', () => {
  test('says who, for which audience, in which pod on which node', async () => {
    expect(await review(server.cluster.tokenFor(pod, [OURS]))).toMatchObject({
      authenticated: true,
      audiences: [OURS],
      user: {
        username: 'system:serviceaccount:agents:billing',
        uid: account.uid,
        extra: {
          'authentication.kubernetes.io/pod-name': ['billing-0'],
          'authentication.kubernetes.io/pod-uid': [pod.uid],
          'authentication.kubernetes.io/node-name': ['node-1'],
          'authentication.kubernetes.io/node-uid': [pod.node?.uid],
          'authentication.kubernetes.io/credential-id': [expect.stringMatching(/^JTI=[0-9a-f-]{36}$/)],
        },
      },
    });
  });

  test('answers with the audiences that both sides name', async () => {
    const token = server.cluster.tokenFor(pod, [OURS, 'vault']);
    expect(await review(token, ['vault', 'other'])).toMatchObject({ audiences: ['vault'] });
  });

  test('without audiences asks for the API server’s own', async () => {
    const own = server.cluster.tokenFor(pod, [COMMON_ISSUER], DEFAULT_TOKEN_SECONDS);
    expect(await review(own, [])).toMatchObject({ authenticated: true, audiences: [COMMON_ISSUER] });
    const refused = await review(server.cluster.tokenFor(pod, [OURS]), []);
    expect(refused).toMatchObject({ error: expect.stringMatching(/is invalid for the target audiences/) });
  });

  test('a legacy token is for the API server, and for no pod', async () => {
    const status = await review(server.cluster.legacyToken(account), [COMMON_ISSUER]);
    expect(status).toMatchObject({ authenticated: true, user: { extra: {} } });
    expect((await review(server.cluster.legacyToken(account)))?.authenticated).toBeFalsy();
  });

  test('an unbound token names no pod', async () => {
    const status = await review(server.cluster.unboundToken(account, [OURS]));
    const names = Object.keys(status?.user?.extra ?? {});
    expect(names).toEqual(['authentication.kubernetes.io/credential-id']);
  });

  const refused = [
    { name: 'one that expired', token: () => aged(-700), says: /has expired/ },
    { name: 'one from the future', token: () => aged(120), says: /not valid yet/ },
    { name: 'one of another cluster', token: () => bent(3), says: /invalid bearer token/ },
    {
      name: 'one of a deleted pod',
      token: () => {
        const gone = server.cluster.addPod(account, 'gone', undefined);
        server.cluster.deletePod(gone);
        return server.cluster.tokenFor(gone, [OURS]);
      },
      says: /invalidated/,
    },
    {
      name: 'one of a pod made anew',
      token: () => {
        const before = server.cluster.addPod(account, 'anew', undefined);
        server.cluster.addPod(account, 'anew', undefined);
        return server.cluster.tokenFor(before, [OURS]);
      },
      says: /invalidated/,
    },
  ];
  test.each(refused)('does not authenticate $name', async ({ token, says }) => {
    const status = await review(token());
    expect(status?.authenticated).toBeFalsy();
    expect(status?.error).toMatch(says);
  });
});

function aged(seconds: number): string {
  server.cluster.skewSeconds = seconds;
  const token = server.cluster.tokenFor(pod, [OURS]);
  server.cluster.skewSeconds = 0;
  return token;
}

/** With one character of the signature changed. */
function bent(fromEnd: number): string {
  const token = server.cluster.tokenFor(pod, [OURS]);
  const at = token.length - fromEnd;
  return `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`;
}

describe('TokenRequest', () => {
  const ask = (spec: object, name = 'billing') =>
    clients().core.createNamespacedServiceAccountToken({
      namespace: 'agents',
      name,
      body: { spec: { audiences: [OURS], ...spec } },
    });
  const bound = (uid = pod.uid) => ({ apiVersion: 'v1', kind: 'Pod', name: 'billing-0', uid });

  test('mints a token that TokenReview knows as the pod’s', async () => {
    const { status } = await ask({ expirationSeconds: 600, boundObjectRef: bound() });
    const reviewed = await review(status?.token ?? '');
    expect(reviewed?.user?.extra?.['authentication.kubernetes.io/pod-uid']).toEqual([pod.uid]);
  });

  test.each([
    { name: 'less than ten minutes', spec: () => ({ expirationSeconds: 599 }), code: 422 },
    { name: 'a pod by another uid', spec: () => ({ boundObjectRef: bound('another') }), code: 409 },
    {
      name: 'a pod of another account',
      spec: () => {
        const other = server.cluster.addPod(server.cluster.addAccount('agents', 'o'), 'o-0', undefined);
        return { boundObjectRef: { ...bound(other.uid), name: 'o-0' } };
      },
      code: 400,
    },
    {
      name: 'a pod that is not there',
      spec: () => ({ boundObjectRef: { ...bound(), name: 'no' } }),
      code: 404,
    },
    {
      name: 'something else than a pod',
      spec: () => ({ boundObjectRef: { ...bound(), kind: 'Job' } }),
      code: 400,
    },
  ])('refuses $name', async ({ spec, code }) => {
    expect(await statusOf(ask(spec()))).toBe(code);
  });

  test('is for those accounts only that the user may ask for', async () => {
    expect(await statusOf(ask({}, 'other'))).toBe(403);
  });
});

describe('who may ask', () => {
  test('nobody without a token, by a token for others, or without a role', async () => {
    const { cluster } = server;
    const codes = [clients(''), clients(cluster.tokenFor(pod, [OURS])), clients('x.y.z')].map(({ auth }) =>
      statusOf(auth.createTokenReview({ body: { spec: { token: 'x' } } })),
    );
    expect(await Promise.all(codes)).toEqual([403, 401, 401]);
    const podsOwn = cluster.tokenFor(pod, [COMMON_ISSUER], DEFAULT_TOKEN_SECONDS);
    const asPod = clients(podsOwn).core.readNamespacedPod({ namespace: 'agents', name: 'billing-0' });
    expect(await statusOf(asPod)).toBe(403);
  });

  test('a pod is read as it is, and 404 when it is gone', async () => {
    const { core } = clients();
    const read = await core.readNamespacedPod({ namespace: 'agents', name: 'billing-0' });
    expect(read).toMatchObject({
      metadata: { uid: pod.uid },
      spec: { nodeName: 'node-1', serviceAccountName: 'billing' },
      status: { phase: 'Running' },
    });
    expect(await statusOf(core.readNamespacedPod({ namespace: 'agents', name: 'no' }))).toBe(404);
    expect(await core.readNode({ name: 'node-1' })).toMatchObject({ metadata: { name: 'node-1' } });
  });
});

/** Why the CA gives the client another way to send: ca/src/attestors/kubernetes/transport.ts. */
describe('what the official client does with an API server that is not well', () => {
  test('it follows a redirect, and takes the reviewed token along', async () => {
    const stranger = await startStranger({ status: { authenticated: true } });
    server.spoil(/tokenreviews/, { kind: 'redirect', status: 307, to: `${stranger.url}/steal` });
    await review('the token of a workload');
    server.spoil(/tokenreviews/, undefined);
    await stranger.close();
    expect(stranger.seen).toMatchObject([{ path: '/steal', authorization: undefined }]);
    expect(stranger.seen[0]?.body).toContain('the token of a workload');
  });

  test('it reads a body of any size', async () => {
    server.spoil(/tokenreviews/, { kind: 'huge', bytes: 8 * 1024 * 1024 });
    await review('x');
    server.spoil(/tokenreviews/, undefined);
  });
});

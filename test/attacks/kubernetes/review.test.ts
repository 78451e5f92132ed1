/** Rows C36 to C44: a pod's token, spoiled one way at a time, against an API server that keeps the real one's rules. */
import type { Attestor } from '@chancery/ca/attestors/attestor.ts';
import { REFUSALS } from '@chancery/shared/ground/errors.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { proven } from '../../kit/ca/authority.ts';
import type { Pod } from '../../kit/kubernetes/cluster.ts';
import type { Claims } from '../../kit/kubernetes/tokens.ts';
import {
  answerOf,
  attestPod,
  type KubernetesWorld,
  OURS,
  podEvidence,
  startKubernetesWorld,
} from '../../kit/kubernetes/world.ts';
import { refusal } from '../../kit/refusal.ts';

let world: KubernetesWorld;
let attestor: Attestor;
beforeAll(async () => {
  world = await startKubernetesWorld();
  attestor = await world.attestor();
});
afterAll(() => world.close());

/** The genuine claims with one change; `undefined` removes one. */
const changed = (changes: Claims, pod = world.pod): string => {
  const claims = { ...world.server.cluster.claimsFor(pod, [OURS]), ...changes };
  return world.server.cluster.signer.sign(claims);
};
const own = (changes: Claims): Claims => ({
  'kubernetes.io': {
    namespace: 'agents',
    node: { name: 'node-1', uid: world.pod.node?.uid },
    pod: { name: world.pod.name, uid: world.pod.uid },
    serviceaccount: { name: 'billing', uid: world.account.uid },
    ...changes,
  },
});
const seconds = (fromNow: number): number => Math.floor(world.clock.now().getTime() / 1000) + fromNow;

describe('a genuine token', () => {
  const attributes = () => ({
    cluster: 'eu-1',
    namespace: 'agents',
    serviceAccount: 'billing',
    serviceAccountUid: world.account.uid,
    pod: 'billing-0',
    podUid: world.pod.uid,
    nodeName: 'node-1',
    nodeUid: world.pod.node?.uid,
  });

  test('gives the pod, by its uid', async () => {
    const facts = await attestPod(world, attestor);
    expect(facts).toEqual({ node: world.pod.uid, attributes: attributes(), exclusive: true });
  });

  test('that carries the binding is accepted, as often as there are exchanges', async () => {
    const required = await world.attestor({ binding: 'required' });
    const key = await proven();
    const token = (audience: string) => world.server.cluster.tokenFor(world.pod, [audience]);
    await attestPod(world, required, { key, token });
    expect(await attestPod(world, required, { key, token })).toMatchObject({ attributes: attributes() });
  });

  test('without a node is of a pod whose node nobody names', async () => {
    const pod = world.server.cluster.addPod(world.account, 'floating', undefined);
    const token = world.server.cluster.tokenFor(pod, [OURS]);
    const facts = await attestPod(world, attestor, { token });
    expect(Object.keys(facts.attributes)).not.toContain('nodeName');
  });

  test('of the agent’s own making passes, projected and requested', async () => {
    for (const mode of ['projected', 'requested'] as const) {
      const { source } = podEvidence(world, { mode });
      const key = await proven();
      const facts = await attestorAnsweredBy(source, key);
      expect(facts.node).toBe(world.pod.uid);
    }
  });
});

async function attestorAnsweredBy(
  source: ReturnType<typeof podEvidence>['source'],
  key: Awaited<ReturnType<typeof proven>>,
) {
  const binding = new Uint8Array(32).fill(9);
  return attestor.attest(new Uint8Array(), {
    now: () => world.clock.now(),
    key,
    binding,
    peer: undefined,
    challenge: async () => Buffer.from(await answerOf(source, binding)),
  });
}

describe('refuses by the token alone, and asks nobody', () => {
  const rows = [
    {
      name: 'C37 the pod’s own token for the API server',
      token: () => world.server.cluster.tokenFor(world.pod, world.server.cluster.apiAudiences),
      code: 'k8s_audience',
      says: /is for "https:\/\/kubernetes.default.svc.cluster.local"/,
    },
    {
      name: 'C37 a token for another service',
      token: () => world.server.cluster.tokenFor(world.pod, ['vault']),
      code: 'k8s_audience',
      says: /is for "vault"/,
    },
    {
      name: 'C37 a token for us and for another service, which could play it to us',
      token: () => world.server.cluster.tokenFor(world.pod, [OURS, 'vault']),
      code: 'k8s_audience',
      says: /not exactly one audience/,
    },
    {
      name: 'C38 a legacy token',
      token: () => world.server.cluster.legacyToken(world.account),
      code: 'k8s_unbound',
      says: /no claim kubernetes.io/,
    },
    {
      name: 'C38 an unbound token',
      token: () => world.server.cluster.unboundToken(world.account, [OURS]),
      code: 'k8s_unbound',
      says: /bound to no pod/,
    },
    { name: 'C38 no jti', token: () => changed({ jti: undefined }), code: 'k8s_unbound', says: /no jti/ },
    {
      name: 'C39 four parts in sub',
      token: () => changed({ sub: 'system:serviceaccount:a:b:c' }),
      code: 'k8s_subject',
      says: /sub is not system:serviceaccount:agents:billing/,
    },
    {
      name: 'C39 a node’s name',
      token: () => changed({ sub: 'system:node:x' }),
      code: 'k8s_subject',
      says: /sub is not/,
    },
    {
      name: 'C39 a namespace with a colon',
      token: () => changed({ ...own({ namespace: 'a:b' }), sub: 'system:serviceaccount:a:b:billing' }),
      code: 'k8s_subject',
      says: /names no namespace/,
    },
    {
      name: 'C39 an account in capitals',
      token: () => changed(own({ serviceaccount: { name: 'Billing', uid: 'x' } })),
      code: 'k8s_subject',
      says: /serviceaccount: its name does not follow RFC 1123/,
    },
    {
      name: 'C39 a pod without uid',
      token: () => changed(own({ pod: { name: 'billing-0' } })),
      code: 'k8s_subject',
      says: /pod has no uid/,
    },
    {
      name: 'C39 no account',
      token: () => changed(own({ serviceaccount: undefined })),
      code: 'k8s_subject',
      says: /names no namespace and service account/,
    },
    {
      name: 'C30 a life of 31 minutes',
      token: () => world.server.cluster.tokenFor(world.pod, [OURS], 1860),
      code: 'jwt_time',
      says: /a life of 1860 s, at most 1800 s/,
    },
    {
      name: 'C30 no exp',
      token: () => changed({ exp: undefined }),
      code: 'jwt_time',
      says: /must both be numbers/,
    },
    {
      name: 'C30 iat as text',
      token: () => changed({ iat: '1' }),
      code: 'jwt_time',
      says: /must both be numbers/,
    },
    {
      name: 'C30 exp before iat',
      token: () => changed({ exp: seconds(-10), iat: seconds(0) }),
      code: 'jwt_time',
      says: /ends before it was issued/,
    },
    {
      name: 'C30 one that has expired',
      token: () => changed({ exp: seconds(-31), iat: seconds(-600) }),
      code: 'jwt_time',
      says: /has expired/,
    },
    {
      name: 'C30 one from the future',
      token: () => changed({ exp: seconds(600), iat: seconds(40) }),
      code: 'jwt_time',
      says: /from the future/,
    },
    {
      name: 'C32 four segments',
      token: () => `${changed({})}.x`,
      code: 'jwt_parse',
      says: /not three base64url parts/,
    },
    {
      name: 'C32 a newline',
      token: () => `${changed({})}\n`,
      code: 'jwt_parse',
      says: /not three base64url parts/,
    },
    { name: 'C32 nothing', token: () => '', code: 'jwt_parse', says: /not three base64url parts/ },
    {
      name: 'C32 17 KiB',
      token: () => `a.${'b'.repeat(17_000)}.c`,
      code: 'jwt_parse',
      says: /at most 16384/,
    },
    { name: 'C32 stray bits', token: () => 'e30.e31.AA', code: 'jwt_parse', says: /not canonical/ },
    { name: 'C32 no object', token: () => 'e30.W10.AA', code: 'jwt_parse', says: /not a JSON object/ },
    {
      name: 'C31 sub twice',
      token: () =>
        raw(JSON.stringify(world.server.cluster.claimsFor(world.pod, [OURS])).replace('{', '{"sub":"x",')),
      code: 'jwt_duplicate',
      says: /the same key twice/,
    },
  ] as const;
  test.each(rows)('$name', async ({ token, code, says }) => {
    const before = world.server.seen.length;
    await expect(attestPod(world, attestor, { token: token() })).rejects.toEqual(refusal(code, says));
    expect(world.server.seen.length).toBe(before);
  });

  test('evidence before the question', async () => {
    const attempt = attestPod(world, attestor, { opening: 'x' });
    await expect(attempt).rejects.toEqual(refusal('evidence_parse', /first message of a pod must be empty/));
  });
});

const raw = (claims: string): string =>
  `e30.${Buffer.from(claims).toString('base64url')}.${Buffer.from('x').toString('base64url')}`;

describe('refuses by what the operator allows', () => {
  test.each([
    { name: 'another namespace', config: { namespaces: ['prod'] }, says: /namespace agents may not join/ },
    {
      name: 'another account',
      config: { namespaces: ['agents'], serviceAccounts: ['agents/other', 'prod/billing'] },
      says: /service account agents\/billing may not join/,
    },
  ])('$name', async ({ config, says }) => {
    const strict = await world.attestor(config);
    await expect(attestPod(world, strict)).rejects.toEqual(refusal('claim_rule', says));
  });

  test('an audience of the operator’s is the only plain one', async () => {
    const strict = await world.attestor({ audience: 'ours.example' });
    await expect(attestPod(world, strict)).rejects.toEqual(refusal('k8s_audience', /nor "ours.example"/));
    const token = world.server.cluster.tokenFor(world.pod, ['ours.example']);
    expect(await attestPod(world, strict, { token })).toMatchObject({ node: world.pod.uid });
  });
});

describe('refuses by what the cluster says of the token', () => {
  type Status = Record<string, unknown> & {
    user: { username: string; extra: Record<string, readonly string[]> };
  };
  type Reviewed = { status: Status };
  const answers = (change: (status: Status) => object): void =>
    world.server.spoil(/tokenreviews/, {
      kind: 'changed',
      change: (body) => ({ ...body, status: change((body as Reviewed).status) }),
    });
  afterEach(() => world.server.spoil(/tokenreviews/, undefined));
  const withExtra = (name: string, values: readonly string[] | undefined) => (status: Status) => ({
    ...status,
    user: {
      ...status.user,
      extra: { ...status.user.extra, [`authentication.kubernetes.io/${name}`]: values },
    },
  });

  test.each([
    {
      name: 'C36 an answer without audiences',
      change: ({ audiences, ...status }: Status) => status,
      code: 'k8s_audience',
      says: /does not say that the token is for us/,
    },
    {
      name: 'C36 an answer with the audience of another',
      change: (status: Status) => ({ ...status, audiences: [`${OURS}.other`] }),
      code: 'k8s_audience',
      says: /does not say that the token is for us/,
    },
    {
      name: 'C36 not authenticated, with all the rest',
      change: (status: Status) => ({ ...status, authenticated: false }),
      code: 'k8s_cluster',
      says: /does not believe the token: ""/,
    },
    {
      name: 'C36 authenticated as text',
      change: (status: Status) => ({ ...status, authenticated: 'true' }),
      code: 'platform_unavailable',
      says: /of another shape: status.authenticated/,
    },
    {
      name: 'C38 no pod in the answer',
      change: withExtra('pod-name', undefined),
      code: 'k8s_unbound',
      says: /0 values for pod-name/,
    },
    {
      name: 'C38 no uid in the answer',
      change: withExtra('pod-uid', undefined),
      code: 'k8s_unbound',
      says: /0 values for pod-uid/,
    },
    {
      name: 'C38 two pods in the answer',
      change: withExtra('pod-uid', ['a', 'b']),
      code: 'k8s_unbound',
      says: /2 values for pod-uid/,
    },
    {
      name: 'C38 another pod than the token’s',
      change: withExtra('pod-uid', ['a']),
      code: 'k8s_unbound',
      says: /another pod-uid than the token/,
    },
    {
      name: 'C39 another account than the token’s',
      change: (status: Status) => ({
        ...status,
        user: { ...status.user, username: 'system:serviceaccount:a:b:c' },
      }),
      code: 'k8s_subject',
      says: /the cluster says "system:serviceaccount:a:b:c"/,
    },
    {
      name: 'C39 another node than the token’s',
      change: withExtra('node-name', ['node-2']),
      code: 'k8s_subject',
      says: /another node-name/,
    },
    {
      name: 'C39 two uids of the node',
      change: withExtra('node-uid', ['a', 'b']),
      code: 'k8s_subject',
      says: /2 values for node-uid/,
    },
    {
      name: 'C39 another jti than the token’s',
      change: withExtra('credential-id', ['JTI=x']),
      code: 'k8s_subject',
      says: /another credential-id/,
    },
  ] as const)('$name', async ({ change, code, says }) => {
    answers(change);
    await expect(attestPod(world, attestor)).rejects.toEqual(refusal(code, says));
  });

  test('C41 a token of another cluster that calls itself the same', async () => {
    const other = await startKubernetesWorld();
    const token = other.server.cluster.tokenFor(other.pod, [OURS]);
    await expect(attestPod(world, attestor, { token })).rejects.toEqual(
      refusal('k8s_cluster', /does not believe the token: "invalid bearer token"/),
    );
    // It is a good one where it is from.
    expect(await attestPod(other, await other.attestor({}, 'kubernetes/us-1'), { token })).toMatchObject({
      attributes: { cluster: 'us-1' },
    });
    await other.close();
  });
});

describe('C40 refuses by the pod itself', () => {
  afterEach(() => {
    world.server.spoil(/\/pods\//, undefined);
    world.server.cluster.changePod(world.pod);
  });
  const live = (change: (pod: Pod) => Pod) => () => world.server.cluster.changePod(change(world.pod));
  const answer = (change: (body: Answered) => object) => () =>
    world.server.spoil(/\/pods\//, { kind: 'changed', change: (body) => change(body as Answered) });
  type Answered = { metadata: object; spec: object };

  test.each([
    {
      name: 'deleted since the review',
      spoil: () => world.server.spoil(/\/pods\//, { kind: 'status', status: 404 }),
      code: 'k8s_pod',
      says: /there is no pod billing-0/,
    },
    {
      name: 'made anew since the review',
      spoil: answer((body) => ({ ...body, metadata: { ...body.metadata, uid: 'another' } })),
      code: 'k8s_pod',
      says: /its uid has changed/,
    },
    {
      name: 'of another account',
      spoil: answer((body) => ({ ...body, spec: { ...body.spec, serviceAccountName: 'admin' } })),
      code: 'k8s_pod',
      says: /runs as admin, not billing/,
    },
    {
      name: 'on another node',
      spoil: answer((body) => ({ ...body, spec: { ...body.spec, nodeName: 'node-2' } })),
      code: 'k8s_pod',
      says: /is on node node-2, the token says node-1/,
    },
    {
      name: 'that has ended',
      spoil: live((pod) => ({ ...pod, phase: 'Succeeded' })),
      code: 'k8s_pod',
      says: /is Succeeded, not Running/,
    },
    {
      name: 'that has not begun',
      spoil: live((pod) => ({ ...pod, phase: 'Pending' })),
      code: 'k8s_pod',
      says: /is Pending, not Running/,
    },
  ] as const)('$name', async ({ spoil, code, says }) => {
    spoil();
    await expect(attestPod(world, attestor)).rejects.toEqual(refusal(code, says));
    expect(REFUSALS[code].grpc).toBe('PERMISSION_DENIED');
  });

  test('deleted before: the cluster itself refuses', async () => {
    const token = world.server.cluster.tokenFor(world.pod, [OURS]);
    world.server.cluster.deletePod(world.pod);
    await expect(attestPod(world, attestor, { token })).rejects.toEqual(
      refusal('k8s_cluster', /invalidated/),
    );
  });

  test('unless the operator does without', async () => {
    const trusting = await world.attestor({ review: { kubeconfig: 'kubeconfig', podCheck: false } });
    world.server.spoil(/\/pods\//, { kind: 'status', status: 404 });
    const before = world.server.seen.length;
    await attestPod(world, trusting);
    expect(world.server.seen.slice(before).map(({ path }) => path)).toEqual([
      '/apis/authentication.k8s.io/v1/tokenreviews',
    ]);
  });
});

import type { OutboundReply } from '@chancery/shared/outbound/http.ts';
import { describe, expect, test } from 'vitest';
import {
  AUDIENCE,
  answerOf as answerFrom,
  type Place,
  type PlaceOptions,
  place as placeWith,
  replied,
} from '../../../test/kit/evidence/place.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { KubernetesEvidenceConfig, kubernetesEvidence, kubernetesEvidenceKind } from './kubernetes.ts';

const tokenOf = (claims: object): string =>
  `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.AA`;
const OWN = {
  'kubernetes.io': {
    namespace: 'agents',
    pod: { name: 'billing-0', uid: 'u-1' },
    serviceaccount: { name: 'billing', uid: 'u-2' },
  },
};
const FILES: Readonly<Record<string, string>> = {
  '/var/run/secrets/tokens/chancery': 'a.b.c\n',
  '/var/run/secrets/kubernetes.io/serviceaccount/token': tokenOf(OWN),
  '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt': 'PEM',
};
const IN_A_POD = { KUBERNETES_SERVICE_HOST: '10.0.0.1', KUBERNETES_SERVICE_PORT: '6443' };
const MINTED = replied(201, '{"status":{"token":"x.y.z"}}');

function place({
  files = FILES,
  env = IN_A_POD,
  answer = MINTED,
}: Pick<PlaceOptions, 'files' | 'env'> & { answer?: OutboundReply } = {}): Place {
  return placeWith({ files, env, answer: () => answer });
}

async function answerOf(config: object, { deps }: Place): Promise<string> {
  const source = kubernetesEvidence(KubernetesEvidenceConfig.parse(config), deps);
  return Buffer.from(await answerFrom(source)).toString();
}

test('is named by its cluster if the config has it', () => {
  const { deps } = place();
  const named = (config: object) => kubernetesEvidence(KubernetesEvidenceConfig.parse(config), deps).platform;
  expect(named({})).toBe('kubernetes');
  expect(named({ cluster: 'eu-1' })).toBe('kubernetes/eu-1');
});

describe('a projected token', () => {
  test('is the current content of the file, without a request', async () => {
    const files = { ...FILES };
    const here = place({ files });
    expect(await answerOf({}, here)).toBe('a.b.c');
    files['/var/run/secrets/tokens/chancery'] = 'd.e.f';
    expect(await answerOf({}, here)).toBe('d.e.f');
    expect(here.asked).toEqual([]);
  });

  test('a missing file is named by its path', async () => {
    await expect(answerOf({ token: '/none' }, place())).rejects.toEqual(
      refusal('file', /^\/none: no such file/),
    );
  });
});

describe('a requested token', () => {
  const mode = { mode: 'requested' };

  test('is asked for with the binding, for this pod, by the cluster’s CA', async () => {
    const here = place();
    expect(await answerOf(mode, here)).toBe('x.y.z');
    const [request] = here.asked;
    expect(request).toMatchObject({
      url: 'https://10.0.0.1:6443/api/v1/namespaces/agents/serviceaccounts/billing/token',
      method: 'POST',
      headers: { authorization: `Bearer ${tokenOf(OWN)}` },
      ca: 'PEM',
    });
    expect(JSON.parse(String(request?.body))).toEqual({
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {
        audiences: [AUDIENCE],
        expirationSeconds: 600,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'billing-0', uid: 'u-1' },
      },
    });
  });

  test.each([
    [{ KUBERNETES_SERVICE_HOST: 'fd00::1' }, {}, 'https://[fd00::1]:443/'],
    [{}, { server: 'https://api.example/' }, 'https://api.example/api/'],
  ])('from the API server that %j and %j name', async (env, config, url) => {
    const here = place({ env });
    await answerOf({ ...mode, ...config }, here);
    expect(here.asked[0]?.url.startsWith(url)).toBe(true);
  });

  test.each([
    ['a pod', { ...OWN['kubernetes.io'], pod: undefined }, /names no pod/],
    ['a namespace', { ...OWN['kubernetes.io'], namespace: undefined }, /names no namespace/],
    ['a namespace that is one', { ...OWN['kubernetes.io'], namespace: '../x' }, /names no namespace/],
    ['an account', { ...OWN['kubernetes.io'], serviceaccount: [] }, /names no name/],
  ])('not by a token of its own without %s', async (_, claims, says) => {
    const token = tokenOf({ 'kubernetes.io': claims });
    const here = place({ files: { ...FILES, '/var/run/secrets/kubernetes.io/serviceaccount/token': token } });
    await expect(answerOf(mode, here)).rejects.toEqual(refusal('platform_unavailable', says));
    expect(here.asked).toEqual([]);
  });

  test('not where this is no pod', async () => {
    const attempt = answerOf(mode, place({ env: {} }));
    await expect(attempt).rejects.toEqual(
      refusal('platform_unavailable', /KUBERNETES_SERVICE_HOST is not set/),
    );
  });
});

describe('looks whether this is a pod', () => {
  const { '/var/run/secrets/tokens/chancery': _, ...unprojected } = FILES;
  const forbidden = replied(403, '{"message":"cannot create"}');
  test.each([
    ['a projected token', place(), { usable: true, says: /^a projected token at/ }],
    [
      'a right to request one',
      place({ files: unprojected }),
      { usable: true, says: /gives tokens/, config: { mode: 'requested' } },
    ],
    [
      'neither',
      place({ files: unprojected, answer: forbidden }),
      { usable: false, says: /no token on request: .*answered 403: cannot create$/ },
    ],
    ['no pod', place({ files: {}, env: {} }), { usable: false, says: /KUBERNETES_SERVICE_HOST is not set/ }],
  ])('with %s', async (__, { deps }, { says, ...expected }) => {
    const found = await kubernetesEvidenceKind.detect(deps, AbortSignal.timeout(5_000));
    expect(found).toEqual({ ...expected, says: expect.stringMatching(says) });
  });
});

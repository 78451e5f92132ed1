/** Kubernetes manifests in documents say what the programs expect; they are not ours, so no schema of ours reads them. */
import { KubernetesEvidenceConfig } from '@chancery/agent/evidence/kubernetes.ts';
import { KubernetesConfig } from '@chancery/ca/attestors/kubernetes/config.ts';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { blocksOf } from './markdown.ts';
import { textOf } from './repository.ts';

const Manifest = z.looseObject({
  apiVersion: z.enum(['v1', 'rbac.authorization.k8s.io/v1']),
  kind: z.enum(['Pod', 'Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding']),
  metadata: z.strictObject({ name: z.string(), namespace: z.string().optional() }),
});
const Role = z.looseObject({
  rules: z.array(z.looseObject({ resources: z.array(z.string()), verbs: z.array(z.string()) })),
});
const Binding = z.looseObject({ roleRef: z.looseObject({ kind: z.string(), name: z.string() }) });

const blocks = blocksOf(textOf('docs/attestors/kubernetes.md')).filter(
  ({ kind }) => kind === 'yaml manifest',
);
const manifests = blocks.flatMap(({ text }) =>
  parseAllDocuments(text, { strict: true }).map((each) => {
    expect(each.errors).toEqual([]);
    return Manifest.parse(each.toJS());
  }),
);
const ofKind = (...kinds: readonly string[]) => manifests.filter(({ kind }) => kinds.includes(kind));

test('roles give what is asked of the API server, and no more', () => {
  const rules = ofKind('Role', 'ClusterRole').flatMap((each) => Role.parse(each).rules);
  expect(rules.map(({ resources, verbs }) => [...resources, ...verbs])).toEqual([
    ['pods', 'get'],
    ['serviceaccounts/token', 'create'],
  ]);
});

test('bindings refer to roles that are there, or that every cluster has', () => {
  const there = [
    'system:auth-delegator',
    ...ofKind('Role', 'ClusterRole').map(({ metadata }) => metadata.name),
  ];
  const referred = ofKind('RoleBinding', 'ClusterRoleBinding').map(
    (each) => Binding.parse(each).roleRef.name,
  );
  expect(referred.toSorted()).toEqual(there.toSorted());
});

test('the pod’s volume holds what agent and CA expect by default', () => {
  const [pod] = ofKind('Pod');
  const { spec } = z
    .looseObject({
      spec: z.looseObject({
        containers: z.array(
          z.looseObject({
            volumeMounts: z.array(z.looseObject({ name: z.string(), mountPath: z.string() })),
          }),
        ),
        volumes: z.array(
          z.looseObject({
            name: z.string(),
            projected: z
              .object({
                sources: z.array(
                  z.object({
                    serviceAccountToken: z.strictObject({
                      path: z.string(),
                      audience: z.string(),
                      expirationSeconds: z.number(),
                    }),
                  }),
                ),
              })
              .optional(),
          }),
        ),
      }),
    })
    .parse(pod);
  const volume = spec.volumes.find(({ projected }) => projected !== undefined);
  const token = volume?.projected?.sources[0]?.serviceAccountToken;
  const mount = spec.containers[0]?.volumeMounts.find(({ name }) => name === volume?.name);
  expect(`${mount?.mountPath}/${token?.path}`).toBe(KubernetesEvidenceConfig.parse({}).token);
  expect(token?.audience).toBe('chancery://prod.example');
  expect(token?.expirationSeconds).toBeLessThanOrEqual(
    KubernetesConfig.parse({ review: {} }).maxTokenLifetime,
  );
  expect(token?.expirationSeconds).toBeGreaterThanOrEqual(600);
});

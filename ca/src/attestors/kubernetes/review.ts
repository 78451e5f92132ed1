/** What a TokenReview and the pod must say before a token's claims count as proven. */
import { ensure, type Refusal } from '@chancery/shared/ground/errors.ts';
import type { LivePod, Review } from './api.ts';
import type { PodClaims } from './claims.ts';

const EXTRA = 'authentication.kubernetes.io/';

/** Throws k8s_cluster, k8s_audience, k8s_subject, k8s_unbound. */
export function ensureReviewed(review: Review, claims: PodClaims, token: string): void {
  const said = withoutToken(review.error ?? '', token);
  const believed = review.authenticated === true && (review.error ?? '') === '';
  ensure(believed, 'k8s_cluster', `the cluster does not believe the token: ${said}`);
  // A server without support for audiences names none: then it has checked the token for its own audience.
  const ours = review.audiences?.includes(claims.audience) ?? false;
  ensure(ours, 'k8s_audience', 'the cluster does not say that the token is for us');
  const { username = '', extra = {} } = review.user ?? {};
  ensure(
    username === claims.username,
    'k8s_subject',
    `the cluster says ${JSON.stringify(username)}, the token ${JSON.stringify(claims.username)}`,
  );
  const { pod, node, id } = claims;
  const need = (name: string, value: string, code: Refusal): void =>
    ensureExtra(extra, { name, value, code });
  need('pod-name', pod.name, 'k8s_unbound');
  need('pod-uid', pod.uid, 'k8s_unbound');
  // Clusters before 1.30 have neither of these.
  if (node !== undefined || `${EXTRA}node-name` in extra) need('node-name', node?.name ?? '', 'k8s_subject');
  if (node !== undefined || `${EXTRA}node-uid` in extra) need('node-uid', node?.uid ?? '', 'k8s_subject');
  if (`${EXTRA}credential-id` in extra) need('credential-id', `JTI=${id}`, 'k8s_subject');
}

function ensureExtra(
  extra: Readonly<Record<string, readonly string[]>>,
  { name, value, code }: { readonly name: string; readonly value: string; readonly code: Refusal },
): void {
  const values = extra[`${EXTRA}${name}`] ?? [];
  ensure(values.length === 1, code, `the cluster says ${values.length} values for ${name}, one is expected`);
  ensure(values[0] === value, code, `the cluster says another ${name} than the token`);
}

const MAX_SAID = 300;

/** The server's message for the operator, without any part of the token. */
function withoutToken(said: string, token: string): string {
  const hidden = token.split('.').reduce((text, part) => text.replaceAll(part, '...'), said);
  return JSON.stringify(hidden.slice(0, MAX_SAID));
}

/** Throws k8s_pod. */
export function ensureLivePod(live: LivePod | undefined, claims: PodClaims): void {
  const { namespace, pod, node, serviceAccount } = claims;
  ensure(live !== undefined, 'k8s_pod', `there is no pod ${pod.name}`);
  const { metadata, spec, status } = live;
  const same = metadata.name === pod.name && metadata.namespace === namespace;
  ensure(
    same,
    'k8s_pod',
    `asked for pod ${namespace}/${pod.name}, the API server answered with another name`,
  );
  ensure(metadata.uid === pod.uid, 'k8s_pod', `pod ${pod.name} is another one now: its uid has changed`);
  ensure(
    spec.serviceAccountName === serviceAccount.name,
    'k8s_pod',
    `pod ${pod.name} runs as ${spec.serviceAccountName}, not ${serviceAccount.name}`,
  );
  ensure(
    (metadata.deletionTimestamp ?? undefined) === undefined,
    'k8s_pod',
    `pod ${pod.name} is being deleted`,
  );
  const sameNode = node === undefined || spec.nodeName === node.name;
  ensure(sameNode, 'k8s_pod', `pod ${pod.name} is on node ${spec.nodeName}, the token says ${node?.name}`);
  ensure(status.phase === 'Running', 'k8s_pod', `pod ${pod.name} is ${status.phase}, not Running`);
}

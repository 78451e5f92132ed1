/** The token subresource of a service account, by the rules of TokenREST.Create and ValidateTokenRequest. */
import { type Cluster, DEFAULT_TOKEN_SECONDS } from './cluster.ts';
import { type Answer, type Body, failure } from './status.ts';

/** validation.ValidateTokenRequest. */
const MIN_SECONDS = 600;
const MAX_SECONDS = 2 ** 32;

export function createToken(
  cluster: Cluster,
  { namespace, account: name }: { readonly namespace: string; readonly account: string },
  { spec = {} }: Body,
): Answer {
  const { audiences = [], expirationSeconds: seconds = DEFAULT_TOKEN_SECONDS, boundObjectRef: ref } = spec;
  if (seconds < MIN_SECONDS)
    return failure(422, 'Invalid', 'spec.expirationSeconds: may not specify a duration less than 10 minutes');
  if (seconds > MAX_SECONDS)
    return failure(
      422,
      'Invalid',
      'spec.expirationSeconds: may not specify a duration larger than 2^32 seconds',
    );
  const account = cluster.accounts.get(`${namespace}/${name}`);
  if (account === undefined) return failure(404, 'NotFound', `serviceaccounts "${name}" not found`);
  const asked = audiences.length > 0 ? audiences : cluster.apiAudiences;
  if (ref === undefined) return created(cluster, cluster.unboundToken(account, asked, seconds), seconds);
  if (ref.kind !== 'Pod' || ref.apiVersion !== 'v1')
    return failure(
      400,
      'BadRequest',
      `cannot bind token to object of type ${ref.apiVersion}, Kind=${ref.kind}`,
    );
  const pod = cluster.pods.get(`${namespace}/${ref.name}`);
  if (pod === undefined) return failure(404, 'NotFound', `pods "${ref.name}" not found`);
  if (pod.account.name !== name)
    return failure(
      400,
      'BadRequest',
      `cannot bind token for serviceaccount "${name}" to pod running with different serviceaccount name.`,
    );
  if (ref.uid !== undefined && ref.uid !== '' && ref.uid !== pod.uid)
    return failure(409, 'Conflict', `the UID in the bound object reference (${ref.uid}) does not match`);
  return created(cluster, cluster.tokenFor(pod, asked, seconds), seconds);
}

function created(cluster: Cluster, token: string, seconds: number): Answer {
  const expirationTimestamp = new Date(cluster.now().getTime() + seconds * 1000).toISOString();
  const body = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    status: { token, expirationTimestamp },
  };
  return { status: 201, body };
}

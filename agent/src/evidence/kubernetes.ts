/**
 * Evidence of a pod: a service-account token for the CA. Either the token that the kubelet projects into a file and
 * renews, or one that the API server gives for this exchange alone.
 */

import { audienceOf } from '@chancery/shared/evidence/binding.ts';
import { asBuffer, utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type Json, type JsonObject, parseJson } from '@chancery/shared/ground/json.ts';
import { writeHostAndPort } from '@chancery/shared/text/address.ts';
import { systemSentence } from '@chancery/shared/text/system-sentence.ts';
import { z } from 'zod';
import type { Detection, EvidenceDeps, EvidenceKind, EvidenceSource } from './evidence.ts';

const PROJECTED = '/var/run/secrets/tokens/chancery';
const CREDENTIALS = '/var/run/secrets/kubernetes.io/serviceaccount';

const absolute = z.string().regex(/^\//, 'an absolute path');

export const KubernetesEvidenceConfig = z.strictObject({
  cluster: z
    .string()
    .min(1)
    .optional()
    .describe("This cluster's name in the CA's config; needed if that has several."),
  mode: z
    .enum(['projected', 'requested'])
    .default('projected')
    .describe('A token from a projected volume, or one requested for each exchange and bound to it.'),
  token: absolute.default(PROJECTED).describe('The projected token: file, read again each time.'),
  credentials: absolute
    .default(CREDENTIALS)
    .describe("Folder with the pod's own `token` and the cluster's `ca.crt`, for `requested`."),
  server: z
    .url({ protocol: /^https$/, error: 'an API server is an https address' })
    .optional()
    .describe('The API server, for `requested` (default: from `KUBERNETES_SERVICE_HOST`).'),
});
export type KubernetesEvidenceConfig = z.infer<typeof KubernetesEvidenceConfig>;

export const kubernetesEvidenceKind: EvidenceKind<KubernetesEvidenceConfig> = {
  platform: 'kubernetes',
  says: 'The Kubernetes pod that the agent runs in.',
  schema: KubernetesEvidenceConfig,
  create: kubernetesEvidence,
  detect: detectPod,
};

/**
 * Reads or requests a token for each exchange. The exchange throws file if a file cannot be read,
 * platform_unavailable with the API server's reason. There is nothing to close.
 */
export function kubernetesEvidence(config: KubernetesEvidenceConfig, deps: EvidenceDeps): EvidenceSource {
  const { cluster } = config;
  const tokenFor = async (binding: Uint8Array, signal: AbortSignal): Promise<string> =>
    config.mode === 'projected'
      ? readText(deps, config.token)
      : requestToken(audienceOf(deps.trustDomain, binding), { config, deps, signal });
  return {
    platform: cluster === undefined ? 'kubernetes' : `kubernetes/${cluster}`,
    async begin(_, signal) {
      return {
        opening: new Uint8Array(),
        answer: async (_question, binding) => utf8(await tokenFor(binding, signal)),
        async end() {},
      };
    },
    async close() {},
  };
}

async function readText({ readFile }: EvidenceDeps, path: string, kind?: 'trusted'): Promise<string> {
  try {
    return asBuffer(await readFile(path, kind))
      .toString('utf8')
      .trim();
  } catch (error) {
    const says = systemSentence(error) ?? (error instanceof Error ? error.message : String(error));
    throw new IdentityError('file', `${path}: ${says}`, { cause: error });
  }
}

interface RequestParts {
  readonly config: KubernetesEvidenceConfig;
  readonly deps: EvidenceDeps;
  readonly signal: AbortSignal;
}

/** The least that the API server gives; the token is used at once. */
const SECONDS = 600;

/** Throws file, platform_unavailable. */
async function requestToken(audience: string, { config, deps, signal }: RequestParts): Promise<string> {
  const own = await readText(deps, `${config.credentials}/token`);
  const { namespace, account, pod } = readOwnToken(own);
  const spec = {
    audiences: [audience],
    expirationSeconds: SECONDS,
    boundObjectRef: { apiVersion: 'v1', kind: 'Pod', ...pod },
  };
  const what = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec };
  const { status, body } = await deps.outbound.request({
    url: `${serverOf(config, deps)}/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`,
    method: 'POST',
    headers: {
      authorization: `Bearer ${own}`,
      'content-type': 'application/json',
      accept: 'application/json',
    },
    body: JSON.stringify(what),
    ca: await readText(deps, `${config.credentials}/ca.crt`, 'trusted'),
    signal,
  });
  const says = `TokenRequest for ${namespace}/${account}: the API server answered ${status}`;
  if (status !== 201) throw new IdentityError('platform_unavailable', `${says}${messageOf(body)}`);
  const answer = readJson(body);
  const token = isJsonObject(answer['status']) ? answer['status']['token'] : undefined;
  ensure(typeof token === 'string', 'platform_unavailable', `${says} without a token`);
  return token;
}

function serverOf({ server }: KubernetesEvidenceConfig, { env }: EvidenceDeps): string {
  if (server !== undefined) return server.replace(/\/$/, '');
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = env;
  ensure(host !== undefined, 'platform_unavailable', 'KUBERNETES_SERVICE_HOST is not set: this is not a pod');
  return `https://${writeHostAndPort({ host, port })}`;
}

const NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

/** The pod's names, from its own unverified token. */
function readOwnToken(token: string) {
  const claims = readJson(Buffer.from(token.split('.')[1] ?? '', 'base64url'));
  const own = objectAt(claims, 'kubernetes.io');
  const namespace = nameAt(own, 'namespace');
  const account = nameAt(objectAt(own, 'serviceaccount'), 'name');
  const { name, uid } = objectAt(own, 'pod');
  const bound = typeof name === 'string' && typeof uid === 'string';
  ensure(
    bound,
    'platform_unavailable',
    "the pod's own token names no pod: is automountServiceAccountToken on?",
  );
  return { namespace, account, pod: { name, uid } };
}

const objectAt = (from: JsonObject, name: string): JsonObject => {
  const value: Json | undefined = from[name];
  return isJsonObject(value) ? value : {};
};

function nameAt(from: JsonObject, name: string): string {
  const value = from[name];
  const named = typeof value === 'string' && NAME.test(value);
  ensure(named, 'platform_unavailable', `the pod's own token names no ${name}`);
  return value;
}

const LIMITS = { code: 'platform_unavailable', maxBytes: 64 * 1024, maxDepth: 16 } as const;

function readJson(bytes: Uint8Array): JsonObject {
  const value = parseJson(bytes, LIMITS);
  ensure(isJsonObject(value), 'platform_unavailable', 'the JSON is not an object');
  return value;
}

/** The API server's reason, if it gives one: it names the missing right. */
function messageOf(body: Uint8Array): string {
  try {
    const { message } = readJson(body);
    return typeof message === 'string' ? `: ${message.slice(0, 300)}` : '';
  } catch {
    return '';
  }
}

/** A projected token needs no rights, so it comes first. Only the API server knows whether a token may be requested. */
async function detectPod(deps: EvidenceDeps, signal: AbortSignal): Promise<Detection> {
  if (await canRead(deps, PROJECTED)) return { usable: true, says: `a projected token at ${PROJECTED}` };
  if (deps.env['KUBERNETES_SERVICE_HOST'] === undefined)
    return { usable: false, says: `no ${PROJECTED}, and KUBERNETES_SERVICE_HOST is not set` };
  const config = KubernetesEvidenceConfig.parse({ mode: 'requested' });
  try {
    await requestToken(`chancery://${deps.trustDomain}`, { config, deps, signal });
    return { usable: true, says: 'the API server gives tokens for the CA', config: { mode: 'requested' } };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { usable: false, says: `a pod, but no ${PROJECTED}, and no token on request: ${why}` };
  }
}

const canRead = (deps: EvidenceDeps, path: string): Promise<boolean> =>
  deps.readFile(path).then(
    (bytes) => bytes.length > 0,
    () => false,
  );

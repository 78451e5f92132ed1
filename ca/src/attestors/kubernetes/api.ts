/**
 * The two questions that we ask a cluster's API server: whose token is this, and is that pod there. What comes back is
 * read strictly; an answer that is late, long, elsewhere or of another shape is none, and a token is in no message.
 */
import { isAbsolute } from 'node:path';
import { asBuffer } from '@chancery/shared/bytes.ts';
import { ensure, IdentityError, isRefusal } from '@chancery/shared/errors.ts';
import type { KubeConfig } from '@kubernetes/client-node';
import { z } from 'zod';
import type { AttestorDeps } from '../attestor.ts';
import type { ReviewConfig } from './config.ts';
import { boundedLibrary, type Client } from './transport.ts';

export interface ClusterApi {
  /** Throws platform_unavailable. */
  review(token: string, audience: string): Promise<Review>;
  /** Undefined where there is none of this name. Throws platform_unavailable. */
  pod(namespace: string, name: string): Promise<LivePod | undefined>;
}

const Review = z.object({
  authenticated: z.boolean().optional(),
  error: z.string().optional(),
  audiences: z.array(z.string()).optional(),
  user: z
    .object({ username: z.string().optional(), extra: z.record(z.string(), z.array(z.string())).optional() })
    .optional(),
});
export type Review = z.infer<typeof Review>;
const Reviewed = z.object({ status: Review });

const LivePod = z.object({
  metadata: z.object({ uid: z.string() }),
  spec: z.object({ nodeName: z.string().optional(), serviceAccountName: z.string().optional() }),
  status: z.object({ phase: z.string() }),
});
export type LivePod = z.infer<typeof LivePod>;

/** A TokenReview is a few kilobytes; a pod with much in it some hundred. */
const MAX_BYTES = 2 * 1024 * 1024;
/** As the Kubernetes clients do: credentials in files are exchanged while we run. */
const REREAD_MS = 60_000;

type Deps = Pick<AttestorDeps, 'readFile' | 'clock'> & { readonly type: string };

/** `root` is before the folder of a pod's own credentials. Loads the client. Throws config. */
export async function openClusterApi(config: ReviewConfig, deps: Deps, root = ''): Promise<ClusterApi> {
  const client = await import('@kubernetes/client-node');
  const credentials = new Credentials(() => loadKubeConfig(client, config, { ...deps, root }), deps);
  const timeoutMs = config.timeout * 1000;
  const ask = async <T>(what: string, question: (configuration: Configured) => Promise<T>): Promise<T> => {
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      const configuration = configured(client, credentials.current(), signal);
      return await Promise.race([question(configuration), rejected(signal)]);
    } catch (error) {
      throw unavailable(client, what, signal.aborted ? `no whole answer in ${config.timeout} s` : error);
    }
  };
  return {
    review: (token, audience) =>
      ask('TokenReview', async (configuration) => {
        const body = { spec: { token, audiences: [audience] } };
        const answer = await new client.AuthenticationV1Api(configuration).createTokenReview({ body });
        return read(Reviewed, answer).status;
      }),
    pod: (namespace, name) =>
      ask(`pod ${namespace}/${name}`, async (configuration) => {
        const pods = new client.CoreV1Api(configuration);
        const found = await pods.readNamespacedPod({ namespace, name }).catch((error: unknown) => {
          if (error instanceof client.ApiException && error.code === 404) return undefined;
          throw error;
        });
        return found === undefined ? undefined : read(LivePod, found);
      }),
  };
}

type Configured = ReturnType<Client['createConfiguration']>;

function configured(client: Client, credentials: KubeConfig, signal: AbortSignal): Configured {
  return client.createConfiguration({
    baseServer: new client.ServerConfiguration(credentials.getCurrentCluster()?.server ?? '', {}),
    authMethods: { default: credentials },
    httpApi: boundedLibrary(client, () => ({ signal, maxBytes: MAX_BYTES })),
  });
}

/** A credential helper of a kubeconfig may hang too, before there is a request. */
const rejected = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));

function read<T>(schema: z.ZodType<T>, value: unknown): T {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const paths = error.issues.map(({ path }) => path.join('.') || 'all of it').join(', ');
  throw new Error(`the answer is of another shape: ${paths}`);
}

/** Never with the cause: an ApiException's message has the body, and a TokenReview's body repeats the token. */
function unavailable(client: Client, what: string, why: unknown): IdentityError {
  if (isRefusal(why)) return why;
  return new IdentityError('platform_unavailable', `${what}: ${reasonOf(client, why)}`);
}

function reasonOf(client: Client, why: unknown): string {
  if (why instanceof client.ApiException) return `the API server answered ${why.code}`;
  // Its message quotes the answer.
  if (why instanceof SyntaxError) return 'the answer is not JSON';
  return why instanceof Error ? why.message : String(why);
}

/** The kubeconfig, read again once a minute. */
class Credentials {
  readonly #load: () => KubeConfig;
  readonly #deps: Deps;
  #loaded: KubeConfig;
  #at: number;

  constructor(load: () => KubeConfig, deps: Deps) {
    this.#load = load;
    this.#deps = deps;
    this.#loaded = load();
    this.#at = deps.clock.now().getTime();
  }

  current(): KubeConfig {
    const now = this.#deps.clock.now().getTime();
    if (now - this.#at >= REREAD_MS) {
      this.#loaded = this.#load();
      this.#at = now;
    }
    return this.#loaded;
  }
}

function loadKubeConfig(client: Client, config: ReviewConfig, deps: Deps & { root: string }): KubeConfig {
  const { kubeconfig, context } = config;
  const name = kubeconfig === undefined ? 'the pod that the CA runs in' : `kubeconfig ${kubeconfig}`;
  const where = `attestors.${deps.type}.review: ${name}`;
  const loaded = new client.KubeConfig();
  try {
    if (kubeconfig === undefined) loaded.loadFromCluster(deps.root);
    else loaded.loadFromString(asBuffer(deps.readFile(kubeconfig)).toString('utf8'));
  } catch (error) {
    const says = error instanceof Error ? error.message : String(error);
    throw new IdentityError('config', `${where}: ${says}`, { cause: error });
  }
  if (context !== undefined) loaded.setCurrentContext(context);
  ensureUsable(loaded, where);
  return loaded;
}

/** What the client would take as leave to go without, or to go elsewhere, is refused. Throws config. */
function ensureUsable(loaded: KubeConfig, where: string): void {
  const need: (holds: boolean, what: string) => asserts holds = (holds, what) =>
    ensure(holds, 'config', `${where}: ${what}`);
  const [cluster, user] = [loaded.getCurrentCluster(), loaded.getCurrentUser()];
  const context = JSON.stringify(loaded.getCurrentContext());
  need(cluster !== null && user !== null, `no context ${context} with a cluster and a user`);
  const { server, caData, caFile, skipTLSVerify } = cluster;
  const url = URL.parse(server);
  need(url?.protocol === 'https:', `the API server is at ${server}, which is no https address`);
  need(!skipTLSVerify, 'insecure-skip-tls-verify would send our credentials to anybody');
  need(isSet(caData) || isSet(caFile), 'no certificate-authority for its cluster');
  const { token, certData, certFile, keyFile, exec, authProvider, username } = user;
  need(
    [token, certData, certFile, exec, authProvider, username].some(isSet),
    'no credentials that the client reads: a token, a certificate, exec or auth-provider',
  );
  const files = [caFile, certFile, keyFile].filter(isSet);
  need(files.every(isAbsolute), 'paths in it must be absolute');
}

/** The client says null and undefined for what is not there. */
const isSet = <T>(value: T): value is NonNullable<T> => value !== null && value !== undefined && value !== '';

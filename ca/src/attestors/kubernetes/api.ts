/**
 * The two questions to a cluster's API server: whose token is this, and does that pod exist. Answers are read strictly:
 * one that is late, too long, redirected or of another shape is refused. No message contains a token.
 */
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { z } from 'zod';
import type { ReviewConfig } from './config.ts';
import { Credentials, type CredentialsDeps } from './credentials.ts';
import { boundedLibrary, type Client, Connections, type Travel } from './transport.ts';

export interface ClusterApi {
  /** Throws platform_unavailable. */
  review(token: string, audience: string): Promise<Review>;
  /** Undefined if there is no such pod. Throws platform_unavailable. */
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
  metadata: z.object({
    name: z.string(),
    namespace: z.string(),
    uid: z.string(),
    /** A time of the client's own type. Only its presence counts. */
    deletionTimestamp: z.unknown().optional(),
  }),
  spec: z.object({ nodeName: z.string().optional(), serviceAccountName: z.string().optional() }),
  status: z.object({ phase: z.string() }),
});
export type LivePod = z.infer<typeof LivePod>;

/** A TokenReview is a few kilobytes; a pod with much in it some hundred. */
const MAX_BYTES = 2 * 1024 * 1024;
/** Loads the client. Throws config. */
export async function openClusterApi(config: ReviewConfig, deps: CredentialsDeps): Promise<ClusterApi> {
  const client = await import('@kubernetes/client-node');
  const credentials = new Credentials(client, config, deps);
  const connections = new Connections();
  const timeoutMs = config.timeout * 1000;
  const ask = async <T>(what: string, question: (configuration: Configured) => Promise<T>): Promise<T> => {
    const signal = AbortSignal.timeout(timeoutMs);
    const answer = async (): Promise<T> => {
      const travel = { connections, credentials: await credentials.current(), signal, maxBytes: MAX_BYTES };
      return question(configured(client, travel));
    };
    try {
      return await Promise.race([answer(), rejected(signal)]);
    } catch (error) {
      const why = signal.aborted ? `no whole answer in ${config.timeout} s` : reasonOf(client, error);
      throw new IdentityError('platform_unavailable', `${what}: ${why}`);
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

function configured(client: Client, travel: Travel): Configured {
  const { credentials } = travel;
  return client.createConfiguration({
    baseServer: new client.ServerConfiguration(credentials.getCurrentCluster()?.server ?? '', {}),
    authMethods: { default: credentials },
    httpApi: boundedLibrary(client, travel),
  });
}

/** A kubeconfig's credential helper may hang, too, before there is a request. */
const rejected = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));

function read<T>(schema: z.ZodType<T>, value: unknown): T {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const paths = error.issues.map(({ path }) => path.join('.') || 'all of it').join(', ');
  throw new Error(`the answer is of another shape: ${paths}`);
}

/** A credential helper may print pages. */
const MAX_REASON = 300;

/** Never the whole error: an ApiException's message has the body, and a TokenReview's body repeats the token. */
function reasonOf(client: Client, why: unknown): string {
  if (why instanceof client.ApiException) return `the API server answered ${why.code}`;
  // Its message quotes the answer.
  if (why instanceof SyntaxError) return 'the answer is not JSON';
  return (why instanceof Error ? why.message : String(why)).slice(0, MAX_REASON);
}

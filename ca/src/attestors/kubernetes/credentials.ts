/**
 * The address of a cluster's API server and the CA's credentials there: a kubeconfig, or the files of the pod that the
 * CA runs in. They are read again while the CA runs, because credentials in files are replaced.
 */
import { isAbsolute } from 'node:path';
import { env } from 'node:process';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { isRecent } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { writeHostAndPort } from '@chancery/shared/text/address.ts';
import { systemSentence } from '@chancery/shared/text/system-sentence.ts';
import type { KubeConfig } from '@kubernetes/client-node';
import { type AttestorDeps, inFileOf } from '../attestor.ts';
import type { ReviewConfig } from './config.ts';
import type { Client } from './transport.ts';

export interface CredentialsDeps extends Pick<AttestorDeps, 'readFile' | 'clock'> {
  readonly type: string;
  /** A prefix for the paths of a pod's own files; empty by default. */
  readonly root?: string;
}

/** The interval of the Kubernetes clients. */
const REREAD_SECONDS = 60;

interface Loaded {
  readonly at: Date;
  /** Resolves when the credential helper of the kubeconfig, if there is one, has answered. */
  readonly ready: Promise<KubeConfig>;
}

/** The credentials for one cluster, read again while the CA runs. */
export class Credentials {
  readonly #client: Client;
  readonly #config: ReviewConfig;
  readonly #deps: CredentialsDeps;
  #loaded: Loaded;

  /** Throws config. */
  constructor(client: Client, config: ReviewConfig, deps: CredentialsDeps) {
    this.#client = client;
    this.#config = config;
    this.#deps = deps;
    this.#loaded = this.#load();
  }

  /**
   * All callers wait for the same helper: one that hangs or fails is run once per minute, and not for each request.
   * Throws config, and the error of the helper.
   */
  current(): Promise<KubeConfig> {
    if (!isRecent(this.#loaded.at, REREAD_SECONDS, this.#deps.clock.now())) this.#loaded = this.#load();
    return this.#loaded.ready;
  }

  #load(): Loaded {
    const config = loadKubeConfig(this.#client, this.#config, this.#deps);
    const ready = config.applyToHTTPSOptions({}).then(() => config);
    // There may be no waiter yet.
    ready.catch(() => {});
    return { at: this.#deps.clock.now(), ready };
  }
}

function loadKubeConfig(client: Client, config: ReviewConfig, deps: CredentialsDeps): KubeConfig {
  const { kubeconfig, context } = config;
  const name = kubeconfig === undefined ? 'the pod that the CA runs in' : `kubeconfig ${kubeconfig}`;
  const where = `attestors.${deps.type}.review: ${name}`;
  const loaded = new client.KubeConfig();
  try {
    if (kubeconfig === undefined) loadFromPod(loaded, deps);
    else loaded.loadFromString(asBuffer(deps.readFile(kubeconfig)).toString('utf8'));
  } catch (error) {
    const says = systemSentence(error) ?? (error instanceof Error ? error.message : String(error));
    throw new IdentityError('config', `${where}: ${says}`, { cause: error });
  }
  if (context !== undefined) loaded.setCurrentContext(context);
  const named = ensureUsable(loaded, where);
  // The client reads these files itself, and checks neither kind nor owner.
  if (kubeconfig !== undefined) for (const path of named) inFileOf(deps, path, () => {});
  return loaded;
}

/** Where Kubernetes mounts a pod's credentials. */
const OWN_FILES = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * The CA reads these files itself: the client would wait for a pipe, read a file of any size, and check no owner. The
 * kubelet writes the files, and the links that lead to them, as root or as the pod's user.
 */
function loadFromPod(loaded: KubeConfig, { readFile, root = '' }: CredentialsDeps): void {
  const [host = '', port = ''] = [env['KUBERNETES_SERVICE_HOST'], env['KUBERNETES_SERVICE_PORT']];
  ensure(host !== '' && port !== '', 'config', 'KUBERNETES_SERVICE_HOST is not set: this is no pod');
  const caData = asBuffer(readFile(`${root}${OWN_FILES}/ca.crt`)).toString('base64');
  const token = asBuffer(readFile(`${root}${OWN_FILES}/token`))
    .toString('utf8')
    .trim();
  ensure(/^[!-~]+$/.test(token), 'config', `${OWN_FILES}/token is no token`);
  const server = `https://${writeHostAndPort({ host, port })}`;
  loaded.loadFromClusterAndUser(
    { name: 'pod', server, caData, skipTLSVerify: false },
    { name: 'pod', token },
  );
}

/**
 * Refuses settings that would make the client skip verification or use another server. Returns the files that the
 * kubeconfig names. Throws config.
 */
function ensureUsable(loaded: KubeConfig, where: string): readonly string[] {
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
  return files;
}

/** The client has null or undefined for what is missing. */
const isSet = <T>(value: T): value is NonNullable<T> => value !== null && value !== undefined && value !== '';

/**
 * The platforms of bench `join`, as stand-ins in a process of their own: what they cost is not the CA's, so it is told
 * when the bench asks.
 */
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { Directory } from '../../kit/aws/directory.ts';
import { startImds } from '../../kit/aws/imds.ts';
import { serveIssuers, startSts } from '../../kit/aws/sts.ts';
import { startEntra } from '../../kit/azure/entra.ts';
import { startAzureImds } from '../../kit/azure/imds.ts';
import { makeDocumentSigners } from '../../kit/azure/signers.ts';
import { letsIn, makeVm } from '../../kit/azure/world.ts';
import { INSTANCE, startMetadata } from '../../kit/gcp/metadata.ts';
import { startApiServer } from '../../kit/kubernetes/api-server.ts';
import { DEFAULT_TOKEN_SECONDS } from '../../kit/kubernetes/cluster.ts';
import { kubeconfigOf } from '../../kit/kubernetes/kubeconfig.ts';
import { usernameOf } from '../../kit/kubernetes/tokens.ts';
import { type Tally, tallyServers } from '../../kit/observe/tally.ts';
import { startIssuer } from '../../kit/oidc/issuer.ts';

export const TRUST_DOMAIN = 'bench.example';
const ACCOUNT = '123456789012';

/** What the bench needs to join there; it travels between processes. */
export interface Place {
  /** As agents and identities call it. */
  readonly platform: string;
  readonly attestor: object;
  readonly evidence: object;
  readonly env: Readonly<Record<string, string>>;
  /** What the CA asks: an address, and a pattern of the paths that agents do not ask too. */
  readonly asked: { readonly url: string; readonly path: string };
  /** What agents ask, beside it. */
  readonly others: readonly string[];
}

export interface Places {
  readonly places: Readonly<Record<string, Place>>;
  /** For the folder of the CA's config, by name. */
  readonly files: Readonly<Record<string, string>>;
}

/** What the CA has asked so far, and the time that all answers of the place have taken. */
export interface PlaceTally extends Pick<Tally, 'requests' | 'connections'> {
  readonly ms: number;
}

const now = (): Date => new Date();
const ANY_PATH = '^';

async function startAws() {
  const directory = new Directory();
  const issuers = await serveIssuers(() => directory.accounts());
  const url = `${issuers.url}/one`;
  const account = directory.account(ACCOUNT, { issuerUrl: url });
  const sts = await startSts({ directory });
  const key = directory.assumeRole(account, 'team/web', 'i-1');
  const imds = await startImds({ role: 'web', credentials: () => key });
  const env = {
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
    AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url,
  };
  return {
    'aws-iam': {
      platform: 'aws-iam',
      attestor: { accounts: [ACCOUNT], regions: [sts.region], endpoint: sts.url },
      evidence: { 'aws-iam': {} },
      env,
      asked: { url: sts.url, path: ANY_PATH },
      others: [imds.url],
    },
    'aws-web-identity': {
      platform: 'aws-web-identity',
      attestor: { issuers: [{ url, account: ACCOUNT }] },
      evidence: { 'aws-web-identity': { endpoint: sts.url } },
      env,
      asked: { url: issuers.url, path: ANY_PATH },
      others: [imds.url, sts.url],
    },
  };
}

/** One cluster, known to the CA twice: it is asked about each token, or its keys are. */
async function startKubernetes() {
  const server = await startApiServer({ clock: systemClock, publicIssuer: true });
  const { cluster, url } = server;
  const node = cluster.addNode('node-1');
  const own = (pod: ReturnType<typeof cluster.addPod>): string =>
    cluster.tokenFor(pod, cluster.apiAudiences, DEFAULT_TOKEN_SECONDS);
  const reviewer = own(cluster.addPod(cluster.addAccount('chancery', 'ca'), 'ca-0', node));
  const pod = cluster.addPod(cluster.addAccount('agents', 'billing'), 'billing-0', node);
  server.allow(usernameOf('chancery', 'ca'), 'create tokenreviews', 'get pods');
  server.allow(usernameOf('agents', 'billing'), 'create serviceaccounts/token agents/billing');
  const files = { kubeconfig: kubeconfigOf(server, reviewer), token: own(pod), 'ca.crt': server.caPem };
  const placeOf = (name: string, attestor: object, path: string): Place => ({
    platform: `kubernetes/${name}`,
    attestor,
    evidence: { kubernetes: { cluster: name, mode: 'requested', server: url } },
    env: {},
    asked: { url, path },
    others: [],
  });
  const places = {
    kubernetes: placeOf('review', { review: { kubeconfig: 'kubeconfig' } }, 'tokenreviews|/pods/'),
    'kubernetes-jwks': placeOf('jwks', { jwks: { issuer: url, ca: 'ca.crt' } }, 'openid'),
  };
  return { places, files };
}

async function startOidc(): Promise<Place> {
  const issuer = await startIssuer({ now, claims: { repository_id: '74' } });
  return {
    platform: 'oidc/ci',
    attestor: { issuer: issuer.url, claims: { repository_id: ['74'] } },
    evidence: { oidc: { issuer: 'ci' } },
    env: issuer.env,
    asked: { url: issuer.url, path: 'openid|jwks' },
    others: [],
  };
}

async function startGcp(): Promise<Place> {
  const google = await startIssuer({ now });
  const token = (claims: object): string => google.token(claims);
  const metadata = await startMetadata({ instance: INSTANCE, email: 'a@my-project.example', token, now });
  return {
    platform: 'gcp',
    attestor: { projects: ['my-project'], issuer: google.url, jwksUri: `${google.url}/jwks` },
    evidence: { gcp: { endpoint: metadata.url } },
    env: {},
    asked: { url: google.url, path: ANY_PATH },
    others: [metadata.url],
  };
}

async function startAzure() {
  const entra = await startEntra(now);
  const signers = makeDocumentSigners(now());
  const applications = [`https://${TRUST_DOMAIN}/chancery`];
  const vm = makeVm('billing-0');
  // All agents of the bench are on one VM.
  const options = { vm, entra, signers, now, applications, queriesPerSecond: 1_000_000 };
  const imds = await startAzureImds(options);
  const azure: Place = {
    platform: 'azure',
    attestor: letsIn(entra),
    evidence: { azure: { endpoint: imds.url } },
    env: {},
    asked: { url: entra.served.url, path: ANY_PATH },
    others: [imds.url],
  };
  return { places: { azure }, files: { 'root.pem': signers.rootPem, 'issuing.pem': signers.issuingPem } };
}

async function startAll(): Promise<Places> {
  const [aws, kubernetes, oidc, gcp, azure] = await Promise.all([
    startAws(),
    startKubernetes(),
    startOidc(),
    startGcp(),
    startAzure(),
  ]);
  return {
    places: { ...aws, ...kubernetes.places, oidc, gcp, ...azure.places },
    files: { ...kubernetes.files, ...azure.files },
  };
}

function tallyOf({ asked, others }: Place, tally: ReturnType<typeof tallyServers>): PlaceTally {
  const { requests, connections } = tally.of(asked.url, new RegExp(asked.path));
  const ms = [...new Set([asked.url, ...others])].reduce((sum, url) => sum + tally.of(url).ms, 0);
  return { requests, connections, ms };
}

/** Where this file is the program: tells the places, then the tally of each name that it is sent. */
if (process.send !== undefined && process.argv[2] === 'places') {
  const all = await startAll();
  const tally = tallyServers();
  process.on('message', (name: string) => {
    const place = all.places[name];
    if (place !== undefined) process.send?.(tallyOf(place, tally));
  });
  process.on('disconnect', () => process.exit(0));
  process.send(all);
}

/**
 * Records test/vectors/evidence from the stand-ins, by `node test/kit/recorded/record-evidence-vectors.ts`: one good
 * exchange a platform, and some that are wrong in one way. Keys are made for it and thrown away.
 */
import { hash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nonceOf, packAzureAnswer } from '@chancery/shared/evidence/azure.ts';
import { attestationBinding, audienceOf } from '@chancery/shared/evidence/binding.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { openOutbound } from '@chancery/shared/outbound/http.ts';
import { verifyCsr, writeCsr } from '@chancery/shared/x509/csr.ts';
import { ACCOUNT, ISSUER, iamEvidence, startAwsWorld, webIdentityEvidence } from '../aws/world.ts';
import { AUDIENCE, documentFor, letsIn, makeVm, startAzureWorld } from '../azure/world.ts';
import { COMMON_ISSUER } from '../kubernetes/cluster.ts';
import { OURS, startKubernetesWorld } from '../kubernetes/world.ts';
import { FIXED_AUDIENCE, startOidcWorld } from '../oidc/world.ts';
import { type EvidenceVector, replay } from './evidence-vector.ts';

const DIR = join(import.meta.dirname, '../../vectors/evidence');
const TRUST_DOMAIN = 'test.example';
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

interface Recording {
  readonly platform: string;
  readonly config: EvidenceVector['config'];
  readonly files?: EvidenceVector['files'];
  /** What the agent answers. */
  readonly answer: (binding: Uint8Array, question: Uint8Array) => Uint8Array | Promise<Uint8Array>;
  /** The service that the CA will ask. */
  readonly asks?: readonly {
    readonly url: string;
    readonly headers?: Record<string, string>;
    readonly body?: string;
  }[];
  readonly replies?: EvidenceVector['replies'];
  readonly now: () => Date;
  /** What it is refused with; missing for a good one. */
  readonly code?: string;
}

const outbound = openOutbound();

async function record(name: string, recording: Recording): Promise<void> {
  const { platform, config, files = {}, answer, asks = [], replies = [], now } = recording;
  const csr = await writeCsr(signerOf(generateKey()));
  const nonce = new Uint8Array(32).fill(7);
  const binding = attestationBinding(TRUST_DOMAIN, nonce, verifyCsr(csr).spki);
  const asked = await Promise.all(
    asks.map(async ({ url }) => {
      const { body, ...reply } = await outbound.request({ url });
      return { url, ...reply, body: base64(body) };
    }),
  );
  const vector: EvidenceVector = {
    platform,
    trustDomain: TRUST_DOMAIN,
    config,
    files,
    replies: [...asked, ...replies],
    at: now().toISOString(),
    nonce: base64(nonce),
    csr: base64(csr),
    opening: '',
  };
  const said = await answer(binding, await questionOf(vector));
  vector.answer = base64(said);
  const outcome = await replay(vector).then(
    (proven) => ({ proven }),
    (error: unknown) => {
      if (!isRefusal(error)) throw error;
      return { code: error.code };
    },
  );
  const [got, wanted] = ['code' in outcome ? outcome.code : 'proven', recording.code ?? 'proven'];
  if (got !== wanted) throw new Error(`${name}: ${got}, expected ${wanted}`);
  writeFileSync(join(DIR, `${name}.json`), `${JSON.stringify({ ...vector, ...outcome }, null, 2)}\n`);
}

/** What the CA asks; the exchange ends there. */
async function questionOf(vector: EvidenceVector): Promise<Uint8Array> {
  let asked: Uint8Array | undefined;
  const listen = async (question: Uint8Array): Promise<never> => {
    asked = question;
    throw new Error('that was all');
  };
  await replay(vector, listen).catch(() => {});
  if (asked === undefined) throw new Error(`${vector.platform} asks nothing`);
  return asked;
}

async function oidc(): Promise<void> {
  const world = await startOidcWorld();
  const { issuer, clock } = world;
  const now = () => clock.now();
  const asks = [{ url: `${issuer.url}/.well-known/openid-configuration` }, { url: `${issuer.url}/jwks` }];
  const workflow = {
    repository: 'octo-org/octo-repo',
    repository_id: '74',
    ref: 'refs/heads/main',
    job_workflow_ref: 'octo-org/octo-repo/.github/workflows/ci.yml@refs/heads/main',
    event_name: 'push',
    run_id: '1',
    run_attempt: '1',
  };
  const token = (claims: object) => (binding: Uint8Array) =>
    utf8(issuer.token({ aud: audienceOf(TRUST_DOMAIN, binding), ...claims }));
  const github = { preset: 'github', issuer: issuer.url, claims: { repository_id: ['74'] } };
  const ofGithub = { platform: 'oidc/github', config: { oidc: { github } }, asks, now };
  await record('good-oidc-github', { ...ofGithub, answer: token(workflow) });
  const pull = { ...workflow, event_name: 'pull_request' };
  await record('wrong-oidc-github-pull-request', { code: 'claim_rule', ...ofGithub, answer: token(pull) });
  await record('wrong-oidc-github-two-audiences', {
    code: 'jwt_aud',
    ...ofGithub,
    answer: token({ ...workflow, aud: ['a', 'b'] }),
  });
  const gitlab = { preset: 'gitlab', issuer: issuer.url, claims: { project_id: ['22'] } };
  const job = {
    aud: FIXED_AUDIENCE,
    project_id: '22',
    job_id: '3',
    ref_protected: 'true',
    pipeline_source: 'push',
  };
  const ofGitlab = { platform: 'oidc/gitlab', config: { oidc: { gitlab } }, asks, now };
  await record('good-oidc-gitlab', { ...ofGitlab, answer: token(job) });
  await record('wrong-oidc-gitlab-unprotected', {
    code: 'claim_rule',
    ...ofGitlab,
    answer: token({ ...job, ref_protected: 'false' }),
  });
  const gcp = { projects: ['my-project'], issuer: issuer.url, jwksUri: `${issuer.url}/jwks` };
  const compute = {
    project_id: 'my-project',
    project_number: 7,
    zone: 'us-west1-b',
    instance_id: '1',
    instance_name: 'v',
  };
  const ofGcp = { platform: 'gcp', config: { gcp }, asks, now };
  await record('good-gcp', { ...ofGcp, answer: token({ google: { compute_engine: compute } }) });
  await record('wrong-gcp-no-instance', { code: 'claim_rule', ...ofGcp, answer: token({}) });
  await world.close();
}

async function kubernetes(): Promise<void> {
  const world = await startKubernetesWorld();
  const { cluster } = world.server;
  const config = { kubernetes: { 'eu-1': { jwks: { issuer: COMMON_ISSUER, file: 'jwks.json' } } } };
  const files = { 'jwks.json': JSON.stringify(cluster.signer.jwks()) };
  const all = { platform: 'kubernetes/eu-1', config, files, now: () => world.clock.now() };
  const tokenFor = (audiences: (binding: Uint8Array) => readonly string[]) => (binding: Uint8Array) =>
    utf8(cluster.tokenFor(world.pod, [...audiences(binding)]));
  await record('good-kubernetes-projected', { ...all, answer: tokenFor(() => [OURS]) });
  await record('good-kubernetes-requested', {
    ...all,
    answer: tokenFor((binding) => [audienceOf(TRUST_DOMAIN, binding)]),
  });
  await record('wrong-kubernetes-api-server', {
    code: 'k8s_audience',
    ...all,
    answer: tokenFor(() => cluster.apiAudiences),
  });
  await world.close();
}

async function aws(): Promise<void> {
  const world = await startAwsWorld();
  const now = () => world.clock.now();
  const role = world.role();
  const answerOf =
    (source: ReturnType<typeof iamEvidence>) => async (binding: Uint8Array, question: Uint8Array) => {
      const exchange = await source.begin(new Uint8Array(), AbortSignal.timeout(5_000));
      return exchange.answer(question, binding);
    };
  const issuers = [{ url: ISSUER, account: ACCOUNT, jwks: 'jwks.json' }];
  const files = { 'jwks.json': world.files.get('jwks.json') ?? '' };
  const ofToken = { platform: 'aws-web-identity', config: { 'aws-web-identity': { issuers } }, files, now };
  const answer = answerOf(webIdentityEvidence(world, role));
  await record('good-aws-web-identity', { ...ofToken, answer });
  const elsewhere = {
    'aws-web-identity': { issuers: [{ url: `${ISSUER}x`, account: ACCOUNT, jwks: 'jwks.json' }] },
  };
  await record('wrong-aws-web-identity-issuer', {
    code: 'issuer_unknown',
    ...ofToken,
    config: elsewhere,
    answer,
  });
  const iam = { accounts: [ACCOUNT], regions: [world.sts.region], endpoint: world.sts.url };
  const reply = (arn: string, user: string) => {
    const result = { Account: ACCOUNT, Arn: arn, UserId: user };
    const body = {
      GetCallerIdentityResponse: { GetCallerIdentityResult: result, ResponseMetadata: { RequestId: 'r' } },
    };
    const { url } = world.sts;
    return [{ url, status: 200, contentType: 'application/json', body: base64(utf8(JSON.stringify(body))) }];
  };
  const ofIam = {
    platform: 'aws-iam',
    config: { 'aws-iam': iam },
    now,
    answer: answerOf(iamEvidence(world, role)),
  };
  await record('good-aws-iam', {
    ...ofIam,
    replies: reply(`arn:aws:sts::${ACCOUNT}:assumed-role/web/i-1`, 'AROAEXAMPLEEXAMPLE123:i-1'),
  });
  await record('wrong-aws-iam-user', {
    code: 'principal_kind',
    ...ofIam,
    replies: reply(`arn:aws:iam::${ACCOUNT}:user/web`, 'AIDAEXAMPLEEXAMPLE123'),
  });
  await world.close();
}

async function azure(): Promise<void> {
  const world = await startAzureWorld();
  const { entra, identity, files } = world;
  const now = () => world.clock.now();
  const asks = [...new Set(await addressesAsked(world))].map((url) => ({ url }));
  const config = { azure: letsIn(entra) };
  const all = { platform: 'azure', config, files: Object.fromEntries(files), asks, now };
  const answer =
    (vm = world.vm) =>
    (binding: Uint8Array) =>
      packAzureAnswer({
        token: utf8(entra.token(identity, AUDIENCE)),
        document: documentFor(world, { nonce: nonceOf(binding) }, vm),
      });
  await record('good-azure', { ...all, answer: answer() });
  const other = makeVm('other', { subscription: '0b1f6471-1bf0-4dda-aec3-cb9272f09591' });
  await record('wrong-azure-another-vm', { code: 'azure_vm', ...all, answer: answer(other) });
  await world.close();
}

/** What the attestor asks for a genuine exchange. */
async function addressesAsked(
  world: Awaited<ReturnType<typeof startAzureWorld>>,
): Promise<readonly string[]> {
  const { attestVm } = await import('../azure/world.ts');
  await attestVm(world, world.attestor());
  return world.called.map(({ url }) => url);
}

mkdirSync(DIR, { recursive: true });
await oidc();
await kubernetes();
await aws();
await azure();
outbound.close();
const sha256 = Object.fromEntries(
  readdirSync(DIR)
    .filter((file) => /^(good|wrong)-/.test(file))
    .map((file) => [file, hash('sha256', readFileSync(join(DIR, file)))]),
);
const provenance = {
  by: 'test/kit/recorded/record-evidence-vectors.ts',
  from: 'the stand-ins of test/kit; no real service was asked',
  on: new Date().toISOString().slice(0, 10),
};
writeFileSync(join(DIR, 'manifest.json'), `${JSON.stringify({ provenance, sha256 }, null, 2)}\n`);

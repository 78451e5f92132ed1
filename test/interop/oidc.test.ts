/**
 * Stand-ins for an OpenID Connect issuer, GitHub's token service and Google's metadata server: clients that others wrote
 * are content with them, and ours gets from them what the CA accepts.
 */
import type { EvidenceDeps, EvidenceKind } from '@chancery/agent/evidence/evidence.ts';
import { GcpEvidenceConfig, gcpEvidence, gcpEvidenceKind } from '@chancery/agent/evidence/gcp.ts';
import { OidcEvidenceConfig, oidcEvidence, oidcEvidenceKind } from '@chancery/agent/evidence/oidc.ts';
import type { Attestor } from '@chancery/ca/attestors/attestor.ts';
import { attestationBinding } from '@chancery/shared/evidence/binding.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { proven } from '../kit/ca/authority.ts';
import { INSTANCE, startMetadata } from '../kit/gcp/metadata.ts';
import type { Served } from '../kit/http/served.ts';
import { type OidcWorld, startOidcWorld } from '../kit/oidc/world.ts';
import { refusal } from '../kit/refusal.ts';

const email = '739419398126-compute@developer.gserviceaccount.com';

let world: OidcWorld;
let metadata: Served;
let noAccount: Served;
beforeAll(async () => {
  world = await startOidcWorld();
  const { issuer, clock } = world;
  const now = () => clock.now();
  const token = (claims: object) => issuer.token(claims);
  metadata = await startMetadata({ instance: INSTANCE, email, token, now });
  noAccount = await startMetadata({ instance: INSTANCE, token, now });
});
afterAll(() => Promise.all([world.close(), metadata.close(), noAccount.close()]));
afterEach(() => {
  vi.unstubAllEnvs();
  world.issuer.served.spoil(undefined);
});

describe('clients that others wrote', () => {
  test('jose finds the issuer’s keys and verifies its tokens, also after a rotation', async () => {
    const { issuer } = world;
    const keys = createRemoteJWKSet(new URL(`${issuer.url}/jwks`), { cooldownDuration: 0 });
    const options = { issuer: issuer.url, audience: 'ours' };
    const { payload } = await jwtVerify(issuer.token({ aud: 'ours' }), keys, options);
    expect(payload.sub).toBe('job');
    issuer.rotate();
    await jwtVerify(issuer.token({ aud: 'ours' }), keys, options);
    await expect(jwtVerify(issuer.token({ aud: 'other' }), keys, options)).rejects.toThrow('"aud"');
  });

  test('GitHub’s own toolkit gets a token for its audience', async () => {
    const { getIDToken } = await import('@actions/core');
    for (const [name, value] of Object.entries(world.issuer.env)) vi.stubEnv(name, value);
    const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const token = await getIDToken('chancery://a b');
    write.mockRestore();
    expect(claimsOf(token)).toMatchObject({ aud: 'chancery://a b', iss: world.issuer.url });
    vi.stubEnv('ACTIONS_ID_TOKEN_REQUEST_TOKEN', 'another');
    await expect(getIDToken()).rejects.toThrow(/401|Unauthorized/);
  });

  test('Google’s own client gets an identity token, and without its header nobody does', async () => {
    const { default: gcpMetadata } = await import('gcp-metadata');
    vi.stubEnv('GCE_METADATA_HOST', metadata.host);
    const property = 'service-accounts/default/identity';
    const token = await gcpMetadata.instance<string>({
      property,
      params: { audience: 'ours', format: 'full' },
    });
    expect(claimsOf(token)).toMatchObject({ aud: 'ours', email, google: { compute_engine: INSTANCE } });
    const standard = await gcpMetadata.instance<string>({ property, params: { audience: 'ours' } });
    expect(claimsOf(standard)).not.toHaveProperty('google');
    const bare = await fetch(`${metadata.url}/computeMetadata/v1/instance/id`);
    expect([bare.status, bare.headers.get('metadata-flavor')]).toEqual([403, 'Google']);
    const forwarded = { 'metadata-flavor': 'Google', 'x-forwarded-for': '10.0.0.1' };
    const proxied = await fetch(`${metadata.url}/computeMetadata/v1/instance/id`, { headers: forwarded });
    expect(proxied.status).toBe(403);
  });
});

const claimsOf = (token: string): object =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as object;

const deps = (changes: Partial<EvidenceDeps> = {}): EvidenceDeps => ({
  trustDomain: parseTrustDomain('test.example'),
  env: world.issuer.env,
  outbound: world.deps.outbound,
  clock: world.clock,
  readFile: async (path) => Buffer.from(world.files.get(path) ?? ''),
  ...changes,
});

type Source = ReturnType<typeof gcpEvidence>;

/** The agent's real side with the CA's, without the network between. */
async function join(source: Source, attestor: Attestor) {
  const key = await proven();
  const binding = attestationBinding('test.example', new Uint8Array(32), key.spki);
  const exchange = await source.begin(key.spki, AbortSignal.timeout(5_000));
  const challenge = (question: Uint8Array) => exchange.answer(question, binding);
  return attestor.attest(exchange.opening, {
    now: () => world.clock.now(),
    key,
    binding,
    peer: undefined,
    challenge,
  });
}

const github = (changes: object = {}) => oidcEvidence(OidcEvidenceConfig.parse(changes), deps());
const gcp = (endpoint: string) => gcpEvidence(GcpEvidenceConfig.parse({ endpoint }), deps());

describe('an agent', () => {
  test('in a job of GitHub proves the job', async () => {
    expect(github({ issuer: 'ci' }).platform).toBe('oidc/ci');
    expect(await join(github(), world.oidc())).toMatchObject({ node: 'job' });
  });

  test('on an instance of Google proves the instance', async () => {
    expect(await join(gcp(metadata.url), world.gcp())).toMatchObject({
      attributes: { instanceName: 'vm-1' },
    });
  });

  test('elsewhere takes the token from a variable or a file', async () => {
    const token = world.issuer.token({ aud: 'ours' });
    world.files.set('/token', `${token}\n`);
    const attestor = world.oidc({ audience: 'ours' });
    await join(oidcEvidence({ tokenVariable: 'T' }, deps({ env: { T: token } })), attestor);
    const file = oidcEvidence({ tokenFile: '/token' }, deps());
    await expect(join(file, attestor)).rejects.toThrow(refusal('jti_replay', /with another key/));
  });

  const nothing = async () => {
    throw new Error('ENOENT');
  };
  test.each<[string, () => Source, RegExp]>([
    [
      'no GitHub',
      () => oidcEvidence({}, deps({ env: {} })),
      /is not set: give the job "permissions: id-token: write"/,
    ],
    [
      'an empty variable',
      () => oidcEvidence({ tokenVariable: 'T' }, deps({ env: { T: '' } })),
      /variable T has no token/,
    ],
    [
      'no file',
      () => oidcEvidence({ tokenFile: '/t' }, deps({ readFile: nothing })),
      /the token in \/t: ENOENT/,
    ],
    [
      'an instance without a service account',
      () => gcp(noAccount.url),
      /answered 404: has this instance a service account\?/,
    ],
    ['no metadata server', () => gcp('http://127.0.0.1:1'), /ECONNREFUSED/],
  ])('says what is missing: %s', async (_, source, says) => {
    await expect(join(source(), world.oidc())).rejects.toThrow(refusal('platform_unavailable', says));
  });

  test.each<[string, Parameters<Served['spoil']>[0], RegExp]>([
    ['refuses', () => ({ status: 403 }), /GitHub's token service answered 403/],
    ['redirects', () => ({ status: 302, headers: { location: 'http://127.0.0.1:1/' } }), /answered 302/],
    ['sends HTML', () => ({ status: 200, body: '<html>' }), /value is expected/],
    ['sends no token', () => ({ status: 200, body: '{"value":1}' }), /sent no token/],
    ['sends too much', () => ({ status: 200, body: ' '.repeat(2 * 1024 * 1024) }), /longer than/],
  ])('says so where GitHub’s service %s', async (_, how, says) => {
    world.issuer.served.spoil(how);
    await expect(join(github(), world.oidc())).rejects.toThrow(refusal('platform_unavailable', says));
  });
});

describe('an agent that looks where it is', () => {
  const looked = (kind: Pick<EvidenceKind<never>, 'detect'>, env: EvidenceDeps['env']) =>
    kind.detect(deps({ env }), AbortSignal.timeout(2_000));

  test.each<[string, EvidenceDeps['env'], object]>([
    [
      'a job of GitHub',
      { GITHUB_ACTIONS: 'true', ACTIONS_ID_TOKEN_REQUEST_URL: 'https://x' },
      { usable: true, config: { issuer: 'github' } },
    ],
    [
      'a job of GitHub that may not',
      { GITHUB_ACTIONS: 'true' },
      { usable: false, says: expect.stringMatching(/id-token: write/) },
    ],
    [
      'a job of GitLab',
      { GITLAB_CI: 'true', CHANCERY_ID_TOKEN: 'x' },
      { usable: true, config: { issuer: 'gitlab', tokenVariable: 'CHANCERY_ID_TOKEN' } },
    ],
    [
      'a job of GitLab without a token',
      { GITLAB_CI: 'true' },
      { usable: false, says: expect.stringMatching(/id_tokens/) },
    ],
    ['a token', { CHANCERY_ID_TOKEN: 'x' }, { usable: true, config: { tokenVariable: 'CHANCERY_ID_TOKEN' } }],
    ['none of these', {}, { usable: false, says: expect.stringMatching(/^neither/) }],
  ])('finds %s', async (_, env, found) => {
    expect(await looked(oidcEvidenceKind, env)).toMatchObject(found);
  });

  test('says that there is no Google', async () => {
    const stop = AbortSignal.abort();
    const none = await gcpEvidenceKind.detect(deps(), stop);
    expect(none).toMatchObject({ usable: false, says: expect.stringMatching(/metadata\.google\.internal/) });
  });
});

/** C24, C34, C35 and what an eavesdropper can do with tokens of CI systems and of Google's instances. */
import { OidcConfig } from '@chancery/ca/attestors/oidc/config.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { proven } from '../../kit/ca/authority.ts';
import { INSTANCE } from '../../kit/gcp/metadata.ts';
import { attestToken, FIXED_AUDIENCE, type OidcWorld, startOidcWorld } from '../../kit/oidc/world.ts';
import { refusal } from '../../kit/refusal.ts';
import { type Expected, expectRefusal } from '../../kit/tpm/tpm-attestor.ts';

let world: OidcWorld;
beforeAll(async () => {
  world = await startOidcWorld();
});
afterAll(() => world.close());

const D = (says: RegExp): Expected => ({ status: 'D', code: 'claim_rule', says });

/** As GitHub's documentation shows it. */
const workflow = {
  sub: 'repo:octo-org/octo-repo:environment:prod',
  repository: 'octo-org/octo-repo',
  repository_id: '74',
  repository_owner: 'octo-org',
  repository_owner_id: '65',
  ref: 'refs/heads/main',
  ref_type: 'branch',
  environment: 'prod',
  job_workflow_ref: 'octo-org/octo-repo/.github/workflows/ci.yml@refs/heads/main',
  event_name: 'push',
  run_id: '1',
  run_attempt: '2',
  runner_environment: 'github-hosted',
};

describe('C34 GitHub', () => {
  const config = { preset: 'github', claims: { repository_id: ['74'], ref: ['refs/heads/*'] } };
  const attempt = (claims: object, changes: object = {}) =>
    attestToken(world, world.oidc({ ...config, ...changes }), {
      token: (aud) => world.issuer.token({ aud, ...workflow, ...claims }),
    });

  test('a workflow of the repository is accepted', async () => {
    expect(await attempt({})).toEqual({
      node: '74/1/2',
      exclusive: false,
      attributes: {
        subject: workflow.sub,
        repository: 'octo-org/octo-repo',
        repositoryId: '74',
        repositoryOwner: 'octo-org',
        repositoryOwnerId: '65',
        ref: 'refs/heads/main',
        refType: 'branch',
        environment: 'prod',
        jobWorkflowRef: workflow.job_workflow_ref,
        eventName: 'push',
        runId: '1',
        runnerEnvironment: 'github-hosted',
      },
    });
  });

  const fork = { repository: 'evil/octo-repo', repository_id: '99', repository_owner_id: '98' };
  test.each<[string, object, RegExp]>([
    [
      'of a fork’s pull request',
      { event_name: 'pull_request' },
      /event_name is "pull_request": a pull request/,
    ],
    ['of a pull request’s target', { event_name: 'pull_request_target' }, /a pull request’s job/],
    ['without an event', { event_name: undefined }, /event_name is "undefined": it is missing/],
    ['of another repository', fork, /repository_id is "99", expected 74/],
    [
      'of a repository made again under the old name',
      { repository_id: '75' },
      /repository_id is "75", expected 74/,
    ],
    ['without a repository', { repository_id: undefined }, /repository_id is missing, expected 74/],
    [
      'by a workflow of another repository',
      { job_workflow_ref: 'evil/w/.github/workflows/ci.yml@refs/heads/main' },
      /job_workflow_ref is "evil.*": a workflow of another repository/,
    ],
    [
      'by a workflow of a repository that begins alike',
      { job_workflow_ref: 'octo-org/octo-repo-evil/.github/workflows/ci.yml@main' },
      /a workflow of another repository/,
    ],
    [
      'of a branch further down',
      { ref: 'refs/heads/a/b' },
      /ref is "refs\/heads\/a\/b", expected refs\/heads\/\*/,
    ],
    ['of a tag', { ref: 'refs/tags/v1' }, /ref is "refs\/tags\/v1"/],
  ])('a job %s is refused', async (_, claims, says) => {
    await expectRefusal(attempt(claims), D(says));
  });

  test('an operator may let pull requests and others’ workflows in', async () => {
    const claims = {
      ...config.claims,
      event_name: ['pull_request'],
      job_workflow_ref: ['shared/w/*/*/*@*/*/*'],
    };
    const job = {
      event_name: 'pull_request',
      job_workflow_ref: 'shared/w/.github/workflows/ci.yml@refs/heads/main',
    };
    expect(await attempt(job, { claims })).toMatchObject({ node: '74/1/2' });
    await expectRefusal(attempt({}, { claims }), D(/event_name is "push", expected pull_request/));
  });

  test.each<[string, object, RegExp]>([
    [
      'anybody’s repository',
      { ref: ['refs/heads/main'] },
      /repository_id or repository_owner_id needs a value without/,
    ],
    ['every repository', { repository_id: ['*'] }, /needs a value without "\*"/],
    [
      'a repository by its subject',
      { sub: ['repo:a/b:*'], repository_id: ['1'] },
      /claims\.sub: write repository_id/,
    ],
  ])('a config for %s is refused', (_, claims, says) => {
    expect(() => world.oidc({ preset: 'github', claims })).toThrow(refusal('config', says));
  });
});

describe('C35 GitLab', () => {
  const job = {
    aud: FIXED_AUDIENCE,
    project_id: '22',
    namespace_id: '72',
    project_path: 'my-group/my-project',
    ref: 'main',
    ref_protected: 'true',
    pipeline_source: 'push',
    job_id: '302',
  };
  const attempt = (claims: object, changes: object = {}) =>
    attestToken(world, world.oidc({ preset: 'gitlab', claims: { project_id: ['22'] }, ...changes }), {
      token: world.issuer.token({ ...job, ...claims }),
    });

  test('a job of the project’s protected branch is accepted', async () => {
    expect(await attempt({})).toMatchObject({
      node: '22/302',
      attributes: { projectId: '22', refProtected: 'true', jobId: '302' },
    });
  });

  test.each<[string, object, RegExp]>([
    ['of an unprotected branch', { ref_protected: 'false' }, /ref_protected is "false": the branch or tag/],
    ['without a claim for its branch', { ref_protected: undefined }, /ref_protected .* it is missing/],
    ['of a merge request', { pipeline_source: 'merge_request_event' }, /a merge request’s job/],
    ['of a fork', { project_id: '23' }, /project_id is "23", expected 22/],
    ['without a number', { job_id: undefined }, /job_id, which names the job, is missing/],
  ])('a job %s is refused', async (_, claims, says) => {
    await expectRefusal(attempt(claims), D(says));
  });

  test('a config for every project is refused', () => {
    const config = { preset: 'gitlab', claims: { ref: ['main'] } };
    expect(() => world.oidc(config)).toThrow(refusal('config', /project_id or namespace_id needs a value/));
  });

  test('a token that cannot carry the binding is good for the key that it came with first', async () => {
    const [first, second] = [await proven(), await proven()];
    const token = world.issuer.token(job);
    const attestor = world.oidc({ preset: 'gitlab', claims: { project_id: ['22'] } });
    await attestToken(world, attestor, { token, key: first });
    await attestToken(world, attestor, { token, key: first, nonce: new Uint8Array(32) });
    const again = attestToken(world, attestor, { token, key: second });
    await expectRefusal(again, { status: 'U', code: 'jti_replay', says: /was used with another key/ });
    await expectRefusal(attempt({ jti: undefined }), D(/jti is missing/));
  });
});

describe('any issuer', () => {
  const attempt = (claims: object, config: object) =>
    attestToken(world, world.oidc(config), { token: (aud) => world.issuer.token({ aud, ...claims }) });

  test('gives the attributes and the node that the config names', async () => {
    const config = {
      claims: { team: ['a', 'b*'] },
      attributes: { team: 'team', size: 'size' },
      node: ['team', 'sub'],
    };
    const facts = await attempt({ team: 'bee', size: 3, odd: { a: 1 } }, config);
    expect(facts).toMatchObject({ node: 'bee/job', attributes: { subject: 'job', team: 'bee', size: '3' } });
  });

  test.each<[string, object, RegExp]>([
    ['another value', { team: 'cat' }, /team is "cat", expected a or b\*/],
    ['a list', { team: ['a'] }, /team is missing, expected a or b\*/],
    ['what every object inherits', {}, /team is missing/],
  ])('refuses %s', async (_, claims, says) => {
    await expectRefusal(attempt(claims, { claims: { team: ['a', 'b*'] } }), D(says));
  });

  test.each<[string, object, string]>([
    ['no claims', { claims: {} }, 'say whose tokens are accepted'],
    [
      'an empty audience',
      { claims: { sub: ['a'] }, audience: '' },
      'an empty audience would accept tokens for anybody',
    ],
    ['a claim without values', { claims: { sub: [] } }, '>=1 items'],
    [
      'tokens that live for days',
      { claims: { sub: ['a'] }, maxLifetime: '2d' },
      'a token lives at most a day',
    ],
    ['a lifetime that is none', { claims: { sub: ['a'] }, maxLifetime: 'long' }, 'is not a length of time'],
  ])('needs a config with more than %s', (_, config, says) => {
    expect(JSON.stringify(OidcConfig.safeParse(config).error?.issues)).toContain(says);
  });

  test.each<[string, object, RegExp]>([
    ['no issuer', { issuer: undefined }, /^attestors\.oidc\.ci: issuer is missing; write one, or preset/],
    ['keys from two places', { jwks: 'a.json', jwksUri: 'https://a.example' }, /not both/],
    ['keys that are none', { jwks: 'empty.json' }, /value is expected/],
  ])('refuses a config with %s', (_, config, says) => {
    expect(() => world.oidc(config)).toThrow(refusal('config', says));
  });

  test('may be known by a file of keys, without a call', async () => {
    const { key } = world.issuer;
    const { publicJwk } = await import('../../kit/oidc/jws.ts');
    world.files.set('keys.json', JSON.stringify({ keys: [publicJwk(key)] }));
    const before = world.issuer.served.received.length;
    await attempt({}, { jwks: 'keys.json' });
    expect(world.issuer.served.received).toHaveLength(before);
  });
});

describe('C24 Google', () => {
  const email = '739419398126-compute@developer.gserviceaccount.com';
  const google = (changes: object = {}) => ({
    google: { compute_engine: { ...INSTANCE, ...changes } },
    email,
    email_verified: true,
  });
  const attempt = (claims: object, config?: object) =>
    attestToken(world, world.gcp(config), {
      token: (aud) => world.issuer.token({ aud, nbf: undefined, ...google(), ...claims }),
    });

  test('an instance of the project is accepted', async () => {
    expect(await attempt({})).toEqual({
      node: '739419398126/152986662232938449',
      exclusive: false,
      attributes: {
        projectId: 'my-project',
        projectNumber: '739419398126',
        zone: 'us-west1-b',
        instanceId: '152986662232938449',
        instanceName: 'vm-1',
        serviceAccount: email,
      },
    });
    await attempt({}, { projects: ['739419398126'], zones: ['us-west1-b'], serviceAccounts: [email] });
  });

  test.each<[string, object, RegExp]>([
    ['C54 an address that Google has not verified', { email_verified: false }, /email_verified is not true/],
    [
      'a service account’s token',
      { google: undefined },
      /compute_engine is missing: not an instance’s token/,
    ],
    ['a token of another service', { google: { compute_engine: 'yes' } }, /compute_engine is missing/],
    [
      'another project',
      google({ project_id: 'my-project-evil', project_number: 7 }),
      /project my-project-evil \(7\) is not allowed/,
    ],
    ['an instance without a number', google({ instance_id: undefined }), /instance_id is missing/],
    ['a number that is rounded', google({ project_number: 1e300 }), /project_number is missing/],
  ])('%s is refused', async (_, claims, says) => {
    await expectRefusal(attempt(claims), D(says));
  });

  test.each<[string, object, RegExp]>([
    ['another zone', { zones: ['europe-west1-b'] }, /zone us-west1-b is not allowed, only europe-west1-b/],
    ['another service account', { serviceAccounts: ['a@b.example'] }, /service account ".*" is not allowed/],
  ])('an instance in %s is refused', async (_, config, says) => {
    await expectRefusal(attempt({}, config), D(says));
  });

  test('a token that a service account’s own key signed is refused', async () => {
    const { signingKey, writeJws } = await import('../../kit/oidc/jws.ts');
    const iat = Math.floor(world.clock.now().getTime() / 1000);
    const claims = { iss: world.issuer.url, sub: '1', iat, exp: iat + 60, ...google() };
    const refused = attestToken(world, world.gcp(), {
      token: (aud) => writeJws({ ...claims, aud }, signingKey('sa-key')),
    });
    await expectRefusal(refused, { status: 'U', code: 'jwt_signature', says: /has no key "sa-key"/ });
  });

  test('a token where none was asked for is refused', async () => {
    const refused = attestToken(world, world.gcp(), { opening: 'x', token: 'x' });
    await expectRefusal(refused, { status: 'I', code: 'evidence_parse', says: /sent when it is asked for/ });
  });

  test.each<[string, object]>([
    ['a wildcard', { projects: ['*'] }],
    ['no project', { projects: [] }],
    ['a zone that is none', { zones: ['europe'] }],
    ['a service account that is none', { serviceAccounts: ['default'] }],
  ])('a config with %s is refused', (_, config) => {
    expect(() => world.gcp(config)).toThrow();
  });
});

describe.each(['oidc', 'gcp'] as const)('a captured token of %s', (platform) => {
  const token = (aud: string) => {
    const compute = {
      project_id: 'my-project',
      project_number: 1,
      zone: 'z',
      instance_id: 'i',
      instance_name: 'n',
    };
    return world.issuer.token({ aud, google: { compute_engine: compute } });
  };

  test('cannot be used with another key or in another exchange', async () => {
    const attestor = world[platform]();
    const key = await proven();
    let captured = '';
    const listen = (aud: string) => (captured = token(aud));
    await attestToken(world, attestor, { key, token: listen });
    const says = /^aud is .*, expected chancery:/;
    const refused = { status: 'U', code: 'jwt_aud', says } as const;
    await expectRefusal(attestToken(world, attestor, { token: captured }), refused);
    const nonce = new Uint8Array(32);
    await expectRefusal(attestToken(world, attestor, { key, token: captured, nonce }), refused);
  });
});

/** What platforms say of a node in tokens that they sign, up to the facts that are made of it. */
import type { Attestor } from '@chancery/ca/attestors/attestor.ts';
import { AwsWebIdentityConfig, awsWebIdentityAttestor } from '@chancery/ca/attestors/aws/web-identity.ts';
import { AzureConfig } from '@chancery/ca/attestors/azure/config.ts';
import { azureAttestor } from '@chancery/ca/attestors/azure.ts';
import { GcpConfig, gcpAttestor } from '@chancery/ca/attestors/gcp.ts';
import { KubernetesConfig } from '@chancery/ca/attestors/kubernetes/config.ts';
import { kubernetesAttestor } from '@chancery/ca/attestors/kubernetes.ts';
import { OidcConfig } from '@chancery/ca/attestors/oidc/config.ts';
import { oidcAttestor } from '@chancery/ca/attestors/oidc.ts';
import { verifyToken } from '@chancery/ca/tokens/jwt.ts';
import { writePem } from '@chancery/shared/der/pem.ts';
import { packAzureAnswer } from '@chancery/shared/evidence/azure.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { verifyCsr } from '@chancery/shared/x509/csr.ts';
import { NOW } from '../../kit/certificates.ts';
import { writeJws } from '../../kit/oidc/jws.ts';
import { law, type Target } from '../engine.ts';
import { recorded } from '../recorded.ts';
import { AUDIENCE, CLAIMS, ISSUER, rules, signer } from './issuer.ts';
import { answering, attestorDeps, BINDING } from './world.ts';

interface Signed {
  readonly name: string;
  readonly says: string;
  readonly claims: object;
  readonly alg?: 'ES256' | 'RS256';
  read(token: Uint8Array): Promise<unknown>;
}

/** Claims that an issuer signs whatever they say: all that is behind the signature is reached. */
const signed = ({ name, says, claims, alg = 'ES256', read }: Signed): Target => ({
  name,
  says,
  shape: 'json',
  maxBytes: 10 * 1024,
  open: () => {
    const key = signer(alg);
    return {
      seeds: [utf8(JSON.stringify(claims))],
      run: async (input) => {
        await read(utf8(writeJws({}, key, { claimsText: Buffer.from(input).toString('utf8') })));
        return undefined;
      },
    };
  },
});

const lazily = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
};

const knownRules = lazily(rules);
const claims = signed({
  name: 'jwt-claims',
  says: 'claims that the issuer has signed',
  claims: CLAIMS,
  read: async (token) => {
    const { expiresAt, issuedAt, subject } = await verifyToken(token, knownRules(), NOW);
    law(expiresAt > issuedAt && subject !== '', 'a token ends before it begins, or speaks for nobody');
  },
});

const proven = lazily(() => verifyCsr(recorded('csr')));
const attested = async (attestor: Attestor | Promise<Attestor>, token: Uint8Array): Promise<void> => {
  const facts = await (await attestor).attest(new Uint8Array(), {
    now: () => NOW,
    key: proven(),
    binding: BINDING,
    peer: undefined,
    challenge: async () => token,
  });
  law(facts.node !== '', 'a node without a name');
  for (const [name, value] of Object.entries(facts.attributes))
    law(typeof value === 'string', `the attribute ${name} is no text`);
};

const oidc = lazily(() =>
  oidcAttestor(
    OidcConfig.parse({
      issuer: ISSUER,
      jwks: 'jwks',
      algorithms: ['ES256'],
      claims: { sub: ['job*'], repository: ['acme/*'] },
      attributes: { repository: 'repository', runId: 'run_id' },
      node: ['repository', 'run_id'],
    }),
    { ...attestorDeps(NOW), type: 'oidc/ci' },
  ),
);
const JOB = { ...CLAIMS, repository: 'acme/web', run_id: 17, environment: 'prod' };
const oidcClaims = signed({
  name: 'oidc-claims',
  says: 'ID tokens of CI systems, attested',
  claims: JOB,
  read: (token) => attested(oidc(), token),
});

const pods = lazily(() =>
  kubernetesAttestor(KubernetesConfig.parse({ jwks: { issuer: ISSUER, file: 'jwks' } }), {
    ...attestorDeps(NOW),
    type: 'kubernetes/eu-1',
  }),
);
const POD = {
  ...CLAIMS,
  aud: [AUDIENCE],
  sub: 'system:serviceaccount:agents:billing',
  'kubernetes.io': {
    namespace: 'agents',
    serviceaccount: { name: 'billing', uid: '6f1a55a9-6f6c-4f0f-8f43-2c9d8a3f8b9d' },
    pod: { name: 'billing-0', uid: '7f1a55a9-6f6c-4f0f-8f43-2c9d8a3f8b9d' },
    node: { name: 'node-1', uid: '8f1a55a9-6f6c-4f0f-8f43-2c9d8a3f8b9d' },
  },
};
const podClaims = signed({
  name: 'pod-claims',
  says: 'service-account tokens, attested offline',
  claims: POD,
  read: (token) => attested(pods(), token),
});

const jwksServed = () =>
  attestorDeps(
    NOW,
    answering(() => recorded('jwks')),
  );
const instances = lazily(() => gcpAttestor(GcpConfig.parse({ projects: ['acme-prod'] }), jwksServed()));
const INSTANCE = {
  ...CLAIMS,
  iss: 'https://accounts.google.com',
  sub: '1234567890',
  email: 'agent@acme-prod.iam.gserviceaccount.com',
  email_verified: true,
  google: {
    compute_engine: {
      project_id: 'acme-prod',
      project_number: 739419398126,
      zone: 'europe-west1-b',
      instance_id: '152986662232938449',
      instance_name: 'web-0',
    },
  },
};
const gcpClaims = signed({
  name: 'gcp-claims',
  says: "an instance's identity token, attested",
  claims: INSTANCE,
  alg: 'RS256',
  read: (token) => attested(instances(), token),
});

const principals = lazily(() =>
  awsWebIdentityAttestor(
    AwsWebIdentityConfig.parse({
      issuers: [{ url: ISSUER, account: '123456789012', jwks: 'jwks' }],
      tags: { costCenter: 'cost-center' },
      organization: { id: 'o-abc1234567', units: ['ou-ab12-11111111'] },
    }),
    attestorDeps(NOW),
  ),
);
const PRINCIPAL = {
  ...CLAIMS,
  sub: 'arn:aws:iam::123456789012:role/web',
  'https://sts.amazonaws.com/': {
    aws_account: '123456789012',
    org_id: 'o-abc1234567',
    ou_path: 'o-abc1234567/r-ab12/ou-ab12-11111111/',
    source_region: 'eu-west-1',
    principal_id: 'AROAIOSFODNN7EXAMPLE',
    principal_tags: { 'cost-center': '17' },
  },
};
const awsClaims = signed({
  name: 'aws-claims',
  says: "STS's web identity tokens, attested",
  claims: PRINCIPAL,
  alg: 'RS256',
  read: (token) => attested(principals(), token),
});

const TENANT = '8d10da13-8125-4ba9-a717-bf7490507b3d';
const SUBSCRIPTION = '0b1f6471-1bf0-4dda-aec3-cb9272f09590';
const machines = lazily(() =>
  azureAttestor(
    AzureConfig.parse({
      tenants: { [TENANT]: { subscriptions: [SUBSCRIPTION] } },
      roots: ['documentRoot'],
      sameVm: 'pinned',
    }),
    { ...jwksServed(), readFile: (name) => utf8(writePem('CERTIFICATE', recorded(name))) },
  ),
);
const ISS = `https://sts.windows.net/${TENANT}/`;
const MACHINE = {
  ...{ ...CLAIMS, iss: ISS, aud: 'https://prod.example/chancery', tid: TENANT, idtyp: 'app', ver: '1.0' },
  oid: 'a7b6c5d4-0000-4000-8000-000000000001',
  sub: 'a7b6c5d4-0000-4000-8000-000000000001',
  xms_mirid:
    `/subscriptions/${SUBSCRIPTION}/resourcegroups/agents` +
    '/providers/Microsoft.Compute/virtualMachines/billing-0',
};
/** With the genuine document beside it. */
const azureClaims = signed({
  name: 'azure-claims',
  says: "a managed identity's token, attested",
  claims: MACHINE,
  alg: 'RS256',
  read: (token) => attested(machines(), packAzureAnswer({ token, document: recorded('document') })),
});

export const CLAIMS_TARGETS: readonly Target[] = [
  claims,
  oidcClaims,
  podClaims,
  gcpClaims,
  awsClaims,
  azureClaims,
];

/** Tokens and the keys behind them, as the CA reads them, with keys that verify. */

import type { Attestor } from '@chancery/ca/attestors/attestor.ts';
import { KubernetesConfig } from '@chancery/ca/attestors/kubernetes/config.ts';
import { kubernetesAttestor } from '@chancery/ca/attestors/kubernetes.ts';
import { OidcConfig } from '@chancery/ca/attestors/oidc/config.ts';
import { oidcAttestor } from '@chancery/ca/attestors/oidc.ts';
import { keySetFrom } from '@chancery/ca/tokens/jwks.ts';
import { ALGORITHMS, verifyToken } from '@chancery/ca/tokens/jwt.ts';
import { importKey, readKeys } from '@chancery/ca/tokens/keys.ts';
import { utf8 } from '@chancery/shared/bytes.ts';
import { isRefusal } from '@chancery/shared/errors.ts';
import { audienceOf } from '@chancery/shared/evidence/binding.ts';
import { silentLog } from '@chancery/shared/log.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { verifyCsr } from '@chancery/shared/x509/csr.ts';
import { NOW } from '../../kit/certificates.ts';
import { writeJws } from '../../kit/oidc/jws.ts';
import { law, type Target } from '../engine.ts';
import { recorded, recordedKey } from '../recorded.ts';
import { answering, attestorDeps, BINDING } from './world.ts';

const ISSUER = 'https://issuer.example';
const TRUST_DOMAIN = parseTrustDomain('prod.example');
const AUDIENCE = audienceOf(TRUST_DOMAIN, BINDING);
const seconds = NOW.getTime() / 1000;
const CLAIMS = {
  iss: ISSUER,
  aud: AUDIENCE,
  sub: 'job',
  jti: 'j-1',
  iat: seconds - 5,
  nbf: seconds - 5,
  exp: seconds + 60,
};

const signer = () => {
  const privateKey = recordedKey('jwtKey');
  return { kid: 'es256', alg: 'ES256', privateKey, publicKey: privateKey };
};
const rules = () => ({
  issuer: ISSUER,
  audience: AUDIENCE,
  algorithms: ALGORITHMS,
  keys: keySetFrom({ jwks: recorded('jwks') }, attestorDeps(NOW)),
  maxLifetimeSeconds: 3600,
});

const jwt: Target = {
  name: 'jwt',
  says: 'compact tokens, as they come',
  shape: 'jwt',
  maxBytes: 20 * 1024,
  open: () => {
    const known = rules();
    return {
      seeds: [utf8(writeJws(CLAIMS, signer())), utf8(writeJws({ ...CLAIMS, aud: [AUDIENCE] }, signer()))],
      run: async (input) => {
        await verifyToken(input, known, NOW);
        // Each part is the only way to write what it says (RFC 4648 §3.5).
        const parts = Buffer.from(input).toString('latin1').split('.');
        return utf8(parts.map((part) => Buffer.from(part, 'base64url').toString('base64url')).join('.'));
      },
    };
  },
};

/** Claims that an issuer signs whatever they say: all that is behind the signature is reached. */
const signed = (
  name: string,
  says: string,
  claims: readonly object[],
  read: (token: Uint8Array) => Promise<unknown>,
): Target => ({
  name,
  says,
  shape: 'json',
  maxBytes: 10 * 1024,
  open: () => {
    const key = signer();
    return {
      seeds: claims.map((each) => utf8(JSON.stringify(each))),
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
const claims = signed('jwt-claims', 'claims that the issuer has signed', [CLAIMS], async (token) => {
  const read = await verifyToken(token, knownRules(), NOW);
  law(
    read.expiresAt > read.issuedAt && read.subject !== '',
    'a token ends before it begins, or speaks for nobody',
  );
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
const oidcClaims = signed('oidc-claims', 'ID tokens of CI systems, attested', [JOB], (token) =>
  attested(oidc(), token),
);

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
const podClaims = signed('pod-claims', 'service-account tokens, attested offline', [POD], (token) =>
  attested(pods(), token),
);

const jwks: Target = {
  name: 'jwks',
  says: 'JWK sets, and every key in them imported',
  shape: 'json',
  open: () => ({
    seeds: [
      recorded('jwks'),
      utf8(
        '{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}',
      ),
    ],
    run: async (input) => {
      for (const key of readKeys(input, 'config').values())
        for (const alg of ALGORITHMS)
          await importKey(key, alg).catch((error: unknown) => {
            if (!isRefusal(error)) throw error;
          });
      return undefined;
    },
  }),
};

/** A fetch hides whatever happens behind keys_unavailable; its cause shows it. */
const discovery: Target = {
  name: 'discovery',
  says: 'discovery documents',
  shape: 'json',
  open: () => {
    const document = { issuer: ISSUER, jwks_uri: `${ISSUER}/jwks`, response_types_supported: ['id_token'] };
    return {
      seeds: [utf8(JSON.stringify(document))],
      run: async (input) => {
        const outbound = answering(({ url }) => (url.includes('.well-known') ? input : recorded('jwks')));
        const deps = { ...attestorDeps(NOW), outbound, log: silentLog };
        await keySetFrom({ discover: ISSUER }, deps)
          .keyFor('es256', 'ES256')
          .catch((error: unknown) => {
            throw isRefusal(error, 'keys_unavailable') ? error.cause : error;
          });
        return undefined;
      },
    };
  },
};

export const TOKENS: readonly Target[] = [jwt, claims, oidcClaims, podClaims, jwks, discovery];

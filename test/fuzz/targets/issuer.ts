/** An issuer whose keys are known here, and what it says of a job. */
import { keySetFrom } from '@chancery/ca/tokens/jwks.ts';
import { ALGORITHMS } from '@chancery/ca/tokens/jwt.ts';
import { audienceOf } from '@chancery/shared/evidence/binding.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { NOW } from '../../kit/certificates.ts';
import type { SigningKey } from '../../kit/oidc/jws.ts';
import { recorded, recordedKey } from '../recorded.ts';
import { attestorDeps, BINDING } from './world.ts';

export const ISSUER = 'https://issuer.example';
export const AUDIENCE = audienceOf(parseTrustDomain('prod.example'), BINDING);
const seconds = NOW.getTime() / 1000;
export const CLAIMS = {
  iss: ISSUER,
  aud: AUDIENCE,
  sub: 'job',
  jti: 'j-1',
  iat: seconds - 5,
  nbf: seconds - 5,
  exp: seconds + 60,
};

/** RS256 signs the same text with the same bytes each time, as seeds need it; ES256 is ten times as fast. */
export function signer(alg: 'ES256' | 'RS256'): SigningKey {
  const privateKey = recordedKey(alg === 'ES256' ? 'jwtKey' : 'jwtRsaKey');
  return { kid: alg.toLowerCase(), alg, privateKey, publicKey: privateKey };
}

export const rules = () => ({
  issuer: ISSUER,
  audience: AUDIENCE,
  algorithms: ALGORITHMS,
  keys: keySetFrom({ jwks: recorded('jwks') }, attestorDeps(NOW)),
  maxLifetimeSeconds: 3600,
});

/**
 * What verifiers of tokens are served: the key set (RFC 7517 section 5), with public members alone, and the discovery
 * document (OpenID Connect Discovery section 3) that leads to it.
 */
import { type JwtAuthority, writeJwk } from '@chancery/shared/spiffe/jwt-authority.ts';

export const KEY_SET_PATH = '/keys';
export const DISCOVERY_PATH = '/.well-known/openid-configuration';

/** All that verify, in the order of their making: a verifier chooses by `kid`. */
export const keySetText = (keys: readonly JwtAuthority[]): string =>
  JSON.stringify({ keys: keys.map((each) => writeJwk(each, 'sig')) });

/** The required members, and none that promises what the CA does not do: it signs nobody in. */
export const discoveryText = (issuer: string): string =>
  JSON.stringify({
    issuer,
    jwks_uri: `${issuer}${KEY_SET_PATH}`,
    authorization_endpoint: '',
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['ES256', 'ES384'],
  });

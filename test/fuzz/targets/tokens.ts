/** Tokens and the keys behind them, as the CA reads them, with keys that verify. */
import { keySetFrom } from '@chancery/ca/tokens/jwks.ts';
import { ALGORITHMS, verifyToken } from '@chancery/ca/tokens/jwt.ts';
import { importKey, readKeys } from '@chancery/ca/tokens/keys.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { NOW } from '../../kit/certificates.ts';
import { writeJws } from '../../kit/oidc/jws.ts';
import { LawBroken, type Target } from '../engine.ts';
import { recorded, recordedKey } from '../recorded.ts';
import { AUDIENCE, CLAIMS, ISSUER, rules, signer } from './issuer.ts';
import { answering, attestorDeps } from './world.ts';

const jwt: Target = {
  name: 'jwt',
  says: 'compact tokens, as they come',
  shape: 'jwt',
  maxBytes: 20 * 1024,
  open: () => {
    const known = rules();
    return {
      seeds: [CLAIMS, { ...CLAIMS, aud: [AUDIENCE] }].map((each) => utf8(writeJws(each, signer('RS256')))),
      run: async (input) => {
        await verifyToken(input, known, NOW);
        // Each part is the only way to write what it says (RFC 4648 §3.5).
        const parts = Buffer.from(input).toString('latin1').split('.');
        return utf8(parts.map((part) => Buffer.from(part, 'base64url').toString('base64url')).join('.'));
      },
    };
  },
};

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
      for (const key of [...readKeys(input, 'config').named.values()].flat())
        for (const alg of ALGORITHMS)
          await importKey(key, alg).catch((error: unknown) => {
            if (!isRefusal(error)) throw error;
          });
      ensureNothingIsLeft();
      return undefined;
    },
  }),
};

/** Of an error in OpenSSL's queue: Node would take it for that of the next key that anybody reads. */
function ensureNothingIsLeft(): void {
  try {
    recordedKey('jwtRsaKey');
  } catch (error) {
    throw new LawBroken('a genuine key cannot be read after it', { cause: error });
  }
}

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

export const TOKENS: readonly Target[] = [jwt, jwks, discovery];

/** `jwt` of the CA's config. */
import { hostPort, text } from '@chancery/shared/config/schema.ts';
import { z } from 'zod';

const MAX_ISSUER = 200;

/** OpenID Connect Discovery section 3: no query, no fragment; literal, and compared character by character. */
const issuer = text('a URL such as https://id.prod.example')
  .regex(/^https:\/\/[a-z0-9.-]+(:[0-9]{1,5})?(\/[A-Za-z0-9._~-]+)*$/, {
    error: 'expected https://HOST in lower case, perhaps with a port and a path, and no slash at its end',
    abort: true,
  })
  .refine((url) => url.length <= MAX_ISSUER, `at most ${MAX_ISSUER} characters`);

export const JwtConfig = z.strictObject({
  issuer: issuer.describe(
    'The issuer that the discovery document names, literally: where verifiers reach `listen`.',
  ),
  listen: hostPort.describe('Where key set (JWKS) and discovery document are served over HTTPS, to anybody.'),
  certificate: text('a path')
    .min(1)
    .describe(
      'PEM certificates of that server, which verifiers trust, the leaf first. Relative to this file.',
    ),
  key: text('a path')
    .min(1)
    .describe('Its private key, PEM, 0600. Both are read again when they change. Relative to this file.'),
});

export type JwtConfig = z.infer<typeof JwtConfig>;

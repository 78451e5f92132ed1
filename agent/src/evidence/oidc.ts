/**
 * ID tokens of CI systems and other OpenID Connect issuers. GitHub Actions gives one for an audience of the job's
 * choice; elsewhere the job's definition says the audience, and the token is in a variable or a file. Mirrors
 * ca/attestors/oidc.ts.
 */

import { audienceOf } from '@chancery/shared/evidence/binding.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, parseJson } from '@chancery/shared/ground/json.ts';
import { systemSentence } from '@chancery/shared/text/system-sentence.ts';
import { z } from 'zod';
import type { Detection, EvidenceDeps, EvidenceKind, EvidenceSource } from './evidence.ts';

/** The name of a GitLab job's token in docs/attestors/oidc.md. */
const VARIABLE = 'CHANCERY_ID_TOKEN';

export const OidcEvidenceConfig = z
  .strictObject({
    issuer: z
      .string()
      .regex(/^[a-z0-9][a-z0-9.-]{0,62}$/, 'a name is lower-case letters, digits, dots and dashes')
      .optional()
      .describe("The issuer's name in the CA's config; needed if there are several."),
    tokenFile: z.string().min(1).optional().describe('File with the token, read again each time.'),
    tokenVariable: z
      .string()
      .regex(/^[A-Za-z_]\w*$/, 'the name of a variable is letters, digits and underscores')
      .optional()
      .describe('Environment variable with the token. Without either: GitHub Actions is asked.'),
  })
  .refine(({ tokenFile, tokenVariable }) => tokenFile === undefined || tokenVariable === undefined, {
    error: 'write tokenFile or tokenVariable, not both',
  });
export type OidcEvidenceConfig = z.infer<typeof OidcEvidenceConfig>;

export const oidcEvidenceKind: EvidenceKind<OidcEvidenceConfig> = {
  platform: 'oidc',
  says: "A CI job's ID token.",
  schema: OidcEvidenceConfig,
  create: oidcEvidence,
  detect: async ({ env }) => detected(env),
};

function detected(env: EvidenceDeps['env']): Detection {
  if (env[REQUEST_URL] !== undefined)
    return {
      usable: true,
      says: `${REQUEST_URL} is set: a job of GitHub Actions`,
      config: { issuer: 'github' },
    };
  if (env['GITHUB_ACTIONS'] !== undefined)
    return { usable: false, says: 'a job of GitHub Actions without "permissions: id-token: write"' };
  const gitlab = env['GITLAB_CI'] !== undefined;
  if (env[VARIABLE] !== undefined) {
    const config = { ...(gitlab ? { issuer: 'gitlab' } : {}), tokenVariable: VARIABLE };
    return { usable: true, says: `${VARIABLE} is set${gitlab ? ': a job of GitLab' : ''}`, config };
  }
  if (gitlab) return { usable: false, says: `a job of GitLab without id_tokens: ${VARIABLE}` };
  return { usable: false, says: `neither ${REQUEST_URL} nor ${VARIABLE} is set` };
}

/**
 * Reads or requests a token for each exchange. The exchange throws platform_unavailable if there is no token.
 * There is nothing to close.
 */
export function oidcEvidence(config: OidcEvidenceConfig, deps: EvidenceDeps): EvidenceSource {
  return {
    platform: config.issuer === undefined ? 'oidc' : `oidc/${config.issuer}`,
    begin: async (_, signal) => ({
      opening: new Uint8Array(),
      answer: async (_question, binding) => tokenFrom(config, deps, { binding, signal }),
      async end() {},
    }),
    async close() {},
  };
}

interface Asking {
  readonly binding: Uint8Array;
  readonly signal: AbortSignal;
}

async function tokenFrom(
  config: OidcEvidenceConfig,
  deps: EvidenceDeps,
  asking: Asking,
): Promise<Uint8Array> {
  const { tokenFile, tokenVariable } = config;
  if (tokenFile !== undefined) return trimmed(Buffer.from(await readToken(tokenFile, deps)).toString());
  if (tokenVariable === undefined) return githubToken(deps, asking);
  const token = deps.env[tokenVariable] ?? '';
  ensure(token !== '', 'platform_unavailable', `the environment variable ${tokenVariable} has no token`);
  return trimmed(token);
}

const trimmed = (text: string): Uint8Array => utf8(text.trim());

async function readToken(path: string, { readFile }: EvidenceDeps): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    const says = systemSentence(error) ?? (error instanceof Error ? error.message : String(error));
    throw new IdentityError('platform_unavailable', `the token in ${path}: ${says}`, { cause: error });
  }
}

const REQUEST_URL = 'ACTIONS_ID_TOKEN_REQUEST_URL';
const REQUEST_TOKEN = 'ACTIONS_ID_TOKEN_REQUEST_TOKEN';

/** https://docs.github.com, "OpenID Connect reference": requesting the token with an audience. */
async function githubToken({ env, outbound, trustDomain }: EvidenceDeps, { binding, signal }: Asking) {
  const [url, token] = [env[REQUEST_URL], env[REQUEST_TOKEN]];
  const set = url !== undefined && token !== undefined;
  ensure(
    set,
    'platform_unavailable',
    `${REQUEST_URL} is not set: give the job "permissions: id-token: write"`,
  );
  const audience = encodeURIComponent(audienceOf(trustDomain, binding));
  const headers = { authorization: `Bearer ${token}`, accept: 'application/json' };
  const where = `${url}${url.includes('?') ? '&' : '?'}audience=${audience}`;
  const { status, body } = await outbound.request({ url: where, headers, signal });
  ensure(status === 200, 'platform_unavailable', `GitHub's token service answered ${status}, expected 200`);
  const reply = parseJson(body, { code: 'platform_unavailable', maxBytes: 64 * 1024, maxDepth: 4 });
  const value = isJsonObject(reply) ? reply['value'] : undefined;
  ensure(typeof value === 'string', 'platform_unavailable', "GitHub's token service sent no token");
  return utf8(value);
}

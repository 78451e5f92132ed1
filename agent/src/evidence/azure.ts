/**
 * Evidence of an Azure VM, from its metadata service: the managed identity's token for the CA, and the attested
 * document with a nonce made of the binding. Mirrors ca/src/attestors/azure.ts.
 */

import { nonceOf, packAzureAnswer } from '@chancery/shared/evidence/azure.ts';
import { asBuffer, utf8 } from '@chancery/shared/ground/bytes.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type JsonObject, parseJson } from '@chancery/shared/ground/json.ts';
import { isCallable } from '@chancery/shared/outbound/address.ts';
import { z } from 'zod';
import type { Detection, EvidenceDeps, EvidenceKind, EvidenceSource } from './evidence.ts';

/** Link-local, so requests never leave the host and Azure serves plain HTTP. */
const METADATA = 'http://169.254.169.254';

export const AzureEvidenceConfig = z.strictObject({
  audience: z
    .string()
    .regex(/^[!-~]{1,255}$/, 'an audience is an App ID URI, for instance https://prod.example/chancery')
    .optional()
    .describe("The CA's App ID URI (default: `https://TRUST-DOMAIN/chancery`)."),
  clientId: z
    .string()
    .regex(/^[0-9a-fA-F-]{36}$/, 'a client ID is a UUID')
    .optional()
    .describe('Which identity to use, if the VM has several user-assigned ones.'),
  endpoint: z
    .string()
    .refine((text) => text === METADATA || isCallable(text), 'an address on this machine, or an https one')
    .default(METADATA)
    .describe('The metadata service.'),
});
export type AzureEvidenceConfig = z.infer<typeof AzureEvidenceConfig>;

export const azureEvidenceKind: EvidenceKind<AzureEvidenceConfig> = {
  platform: 'azure',
  says: 'The Azure VM that the agent runs on, and its managed identity.',
  schema: AzureEvidenceConfig,
  create: azureEvidence,
  detect: detectVm,
};

interface MetadataCall {
  readonly config: Pick<AzureEvidenceConfig, 'endpoint'>;
  readonly deps: Pick<EvidenceDeps, 'outbound'>;
  readonly signal: AbortSignal;
}

interface EvidenceCall extends MetadataCall {
  readonly config: AzureEvidenceConfig;
  readonly deps: EvidenceDeps;
}

/**
 * Asks the metadata service for a document and a token in each exchange. The exchange throws platform_unavailable
 * with Azure's reason, evidence_parse if the CA asks for anything else. There is nothing to close.
 */
export function azureEvidence(config: AzureEvidenceConfig, deps: EvidenceDeps): EvidenceSource {
  return {
    platform: 'azure',
    async begin(_, signal) {
      const call = { config, deps, signal };
      return {
        opening: new Uint8Array(),
        async answer(question, binding) {
          ensure(question.length === 0, 'evidence_parse', 'the CA asks an Azure VM nothing but its nonce');
          const document = await documentFor(nonceOf(binding), call);
          return packAzureAnswer({ token: utf8(await tokenFrom(call)), document });
        },
        async end() {},
      };
    },
    async close() {},
  };
}

/** Throws platform_unavailable. */
async function tokenFrom(call: EvidenceCall): Promise<string> {
  const { audience, clientId } = call.config;
  const query = new URLSearchParams({
    'api-version': '2018-02-01',
    resource: audience ?? `https://${call.deps.trustDomain}/chancery`,
    ...(clientId && { client_id: clientId }),
  });
  const { access_token: token } = await ask(`identity/oauth2/token?${query}`, call);
  ensure(typeof token === 'string', 'platform_unavailable', 'the metadata service gave no access_token');
  return token;
}

const TRIES = 3;
const PAUSE_SECONDS = 1;

/** Asks for a document. The service may answer a second request from its cache. Throws platform_unavailable. */
async function documentFor(nonce: string, call: EvidenceCall): Promise<Uint8Array> {
  const { clock } = call.deps;
  for (let tries = 1; ; tries += 1) {
    const path = `attested/document?api-version=2021-02-01&nonce=${nonce}`;
    const { encoding, signature } = await ask(path, call);
    const read = encoding === 'pkcs7' && typeof signature === 'string';
    ensure(read, 'platform_unavailable', 'the metadata service gave no document in pkcs7');
    const document = Buffer.from(signature, 'base64');
    if (document.includes(`"${nonce}"`)) return document;
    ensure(
      tries < TRIES,
      'platform_unavailable',
      'the metadata service keeps giving a document for another nonce',
    );
    await clock.sleepUntil(addSeconds(clock.now(), PAUSE_SECONDS), call.signal);
  }
}

const TIMEOUT_MS = 5_000;
const MAX_BYTES = 128 * 1024;

/** Azure requires this header, which requests that a program was tricked into do not have. */
async function ask(
  path: string,
  { config, deps, signal }: MetadataCall,
  timeoutMs = TIMEOUT_MS,
): Promise<JsonObject> {
  const url = `${config.endpoint.replace(/\/$/, '')}/metadata/${path}`;
  const headers = { Metadata: 'true' };
  const { status, body } = await deps.outbound.request({
    url,
    headers,
    timeoutMs,
    maxBytes: MAX_BYTES,
    signal,
  });
  const what = `${url.split('?')[0]} answered ${status}`;
  if (status !== 200) throw new IdentityError('platform_unavailable', `${what}${reasonIn(body)}`);
  const answer = parseJson(body, { code: 'platform_unavailable', maxBytes: MAX_BYTES, maxDepth: 16 });
  ensure(isJsonObject(answer), 'platform_unavailable', `${what} without a JSON object`);
  return answer;
}

/** Azure's own message, such as which identity is missing or which application is unknown. */
function reasonIn(body: Uint8Array): string {
  const [, sentence] =
    /"error_description"\s*:\s*"([^"\\]{1,300})/.exec(asBuffer(body).toString('latin1')) ?? [];
  return sentence === undefined ? '' : `: ${sentence}`;
}

const DETECT_MS = 1_000;

/** Detects an Azure VM. Whether its identity is known to the CA shows only when it joins. */
async function detectVm(deps: Pick<EvidenceDeps, 'outbound'>, signal: AbortSignal): Promise<Detection> {
  const call = { config: { endpoint: METADATA }, deps, signal };
  try {
    const { vmId } = await ask('instance/compute?api-version=2021-02-01', call, DETECT_MS);
    ensure(typeof vmId === 'string', 'platform_unavailable', 'the metadata service names no vmId');
    return { usable: true, says: `Azure's metadata service knows this VM as ${vmId}` };
  } catch (error) {
    return { usable: false, says: error instanceof Error ? error.message : String(error) };
  }
}

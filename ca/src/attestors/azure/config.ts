/** The `azure` attestor's config, and the policy that it becomes. */

import { duration } from '@chancery/shared/config/schema.ts';
import { readPem } from '@chancery/shared/der/pem.ts';
import { asBuffer } from '@chancery/shared/ground/bytes.ts';
import { address } from '@chancery/shared/outbound/address.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { z } from 'zod';
import { type KeySet, keySetFrom } from '../../tokens/jwks.ts';
import { type AttestorDeps, inFileOf } from '../attestor.ts';
import type { DocumentTrust } from './signer.ts';

interface Cloud {
  readonly login: string;
  /** Before the tenant, in the `iss` of a token of version 1. */
  readonly sts: string;
  /** Signs attested documents. */
  readonly host: string;
}

const CLOUDS = {
  public: {
    login: 'https://login.microsoftonline.com',
    sts: 'https://sts.windows.net',
    host: 'metadata.azure.com',
  },
  usgov: {
    login: 'https://login.microsoftonline.us',
    sts: 'https://sts.windows.net',
    host: 'metadata.azure.us',
  },
  china: {
    login: 'https://login.partner.microsoftonline.cn',
    sts: 'https://sts.chinacloudapi.cn',
    host: 'metadata.azure.cn',
  },
} as const satisfies Record<string, Cloud>;

const uuid = (what: string) =>
  z
    .string()
    .regex(
      /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
      `${what} is a UUID in lower case, without wildcards`,
    );

/** Below these, Microsoft's own services: every VM has tokens for them, and sends those to them. */
const MICROSOFT = [
  ...[
    'azure.com',
    'azure.net',
    'azure.us',
    'azure.cn',
    'windows.net',
    'microsoft.com',
    'microsoftonline.com',
  ],
  ...['microsoftonline.us', 'microsoftonline.cn', 'usgovcloudapi.net', 'chinacloudapi.cn'],
];
const isMicrosofts = (text: string): boolean => {
  const host = URL.parse(text)?.hostname ?? text;
  return MICROSOFT.some((name) => host === name || host.endsWith(`.${name}`));
};

const audience = z
  .string()
  .regex(/^[!-~]{1,255}$/, 'an audience is an App ID URI, for instance https://prod.example/chancery')
  .refine((text) => !isMicrosofts(text), {
    error: ({ input }) =>
      `${String(input)} is a service of Microsoft's, to which tokens for it are sent: write an App ID URI of your own`,
  });

const TenantConfig = z.strictObject({
  subscriptions: z.array(uuid('a subscription')).min(1).describe('Those whose VMs may join.'),
  resourceGroups: z
    .array(z.string().regex(/^[a-z0-9_().-]{1,90}$/, 'a resource group is written in lower case'))
    .min(1)
    .optional()
    .describe('Those whose VMs may join, in lower case (default: all of the subscriptions).'),
});

export const AzureConfig = z.strictObject({
  tenants: z
    .record(uuid('a tenant'), TenantConfig)
    .refine((tenants) => Object.keys(tenants).length > 0, 'name at least one tenant')
    .describe('Tenants of Entra ID by their ID; a token of any other is refused.'),
  audience: audience
    .optional()
    .describe('The App ID URI that tokens must be for (default: `https://TRUST-DOMAIN/chancery`).'),
  applicationId: uuid('an application')
    .optional()
    .describe('For an application whose access tokens are of version 2: `aud` is then its ID.'),
  cloud: z.enum(['public', 'usgov', 'china']).default('public').describe('Which of the clouds.'),
  roots: z
    .array(z.string().min(1))
    .min(1)
    .describe(
      "PEM files: roots above the documents' signer, or Azure's issuing authorities. Relative to this file.",
    ),
  intermediates: z
    .array(z.string().min(1))
    .default([])
    .describe(
      'PEM files with the certificates between roots and signer; Azure does not send them. Relative to this file.',
    ),
  sameVm: z
    .enum(['pinned', 'subscription'])
    .describe(
      'Token and document must share the subscription; and with `pinned`, a VM keeps the first vmId it came with.',
    ),
  maxDocumentAge: duration('5m').describe('A document that was made earlier is refused.'),
  maxTokenLifetime: duration('25h').describe('A token with a longer life is refused; Azure gives 24 hours.'),
  login: address
    .optional()
    .describe("Where the tenants' keys are, instead of the cloud's own login service."),
});
export type AzureConfig = z.infer<typeof AzureConfig>;

/** One tenant whose tokens are read. */
export interface Tenant {
  readonly id: string;
  readonly issuer: string;
  readonly keys: KeySet;
  readonly subscriptions: ReadonlySet<string>;
  readonly resourceGroups: ReadonlySet<string> | undefined;
}

export interface AzurePolicy {
  /** By `iss`. */
  readonly tenants: ReadonlyMap<string, Tenant>;
  readonly audience: string;
  readonly trust: DocumentTrust;
  readonly pinned: boolean;
  readonly maxDocumentAge: number;
  readonly maxTokenLifetime: number;
}

/** Reads the certificates at once, and no keys before they are needed. Throws config. */
export function azurePolicy(config: AzureConfig, deps: AttestorDeps): AzurePolicy {
  const { sameVm, maxDocumentAge, maxTokenLifetime, applicationId } = config;
  const { host } = CLOUDS[config.cloud];
  const files = { ...deps, type: 'azure' };
  const read = (paths: readonly string[]) => paths.flatMap((path) => inFileOf(files, path, certificatesOf));
  return {
    tenants: new Map(
      Object.keys(config.tenants).map((id) => {
        const tenant = tenantOf(id, config, deps);
        return [tenant.issuer, tenant];
      }),
    ),
    audience: applicationId ?? config.audience ?? `https://${deps.trustDomain}/chancery`,
    trust: { anchors: read(config.roots), intermediates: read(config.intermediates), host },
    pinned: sameVm === 'pinned',
    maxDocumentAge,
    maxTokenLifetime,
  };
}

function tenantOf(
  id: string,
  { tenants, cloud, applicationId, login }: AzureConfig,
  deps: AttestorDeps,
): Tenant {
  const { subscriptions = [], resourceGroups } = tenants[id] ?? {};
  const own = CLOUDS[cloud];
  const keysAt = `${login?.replace(/\/$/, '') ?? own.login}/${id}/discovery`;
  const version1 = applicationId === undefined;
  return {
    id,
    issuer: version1 ? `${own.sts}/${id}/` : `${own.login}/${id}/v2.0`,
    keys: keySetFrom({ jwksUri: version1 ? `${keysAt}/keys` : `${keysAt}/v2.0/keys` }, deps),
    subscriptions: new Set(subscriptions),
    resourceGroups: resourceGroups && new Set(resourceGroups),
  };
}

const certificatesOf = (bytes: Uint8Array): readonly Certificate[] =>
  readPem(asBuffer(bytes).toString('utf8'), 'CERTIFICATE', 'config').map(parseCertificate);

/** The list of platforms on the agent's side: a new one needs one line in `KINDS` here. */

import { openOutbound } from '@chancery/shared/outbound/http.ts';
import { readTrustedFile } from '@chancery/shared/unix/files/trusted-file.ts';
import { readWholeFile } from '@chancery/shared/unix/files/whole-file.ts';
import { z } from 'zod';
import { awsIamEvidenceKind } from './aws/iam.ts';
import { awsWebIdentityEvidenceKind } from './aws/web-identity.ts';
import { azureEvidenceKind } from './azure.ts';
import type { Detection, EvidenceDeps, EvidenceKind, EvidenceSource, ReadFile } from './evidence.ts';
import { gcpEvidenceKind } from './gcp.ts';
import { kubernetesEvidenceKind } from './kubernetes.ts';
import { oidcEvidenceKind } from './oidc.ts';
import { allOf } from './several.ts';
import { tpmEvidenceKind } from './tpm.ts';
import { unixEvidenceKind } from './unix.ts';

/** In the order of preference of `platform: auto`: the evidence that says most about this workload comes first. */
const KINDS = {
  oidc: oidcEvidenceKind,
  kubernetes: kubernetesEvidenceKind,
  'aws-iam': awsIamEvidenceKind,
  // After aws-iam, which needs no setting in the account: both find the same principal.
  'aws-web-identity': awsWebIdentityEvidenceKind,
  azure: azureEvidenceKind,
  gcp: gcpEvidenceKind,
  tpm: tpmEvidenceKind,
  unix: unixEvidenceKind,
};

type Kinds = typeof KINDS;
type Name = keyof Kinds;

const kinds = Object.entries(KINDS) as readonly (readonly [Name, EvidenceKind<unknown>])[];

export const EvidenceConfig = z
  .strictObject(
    Object.fromEntries(kinds.map(([name, { schema, says }]) => [name, schema.optional().describe(says)])) as {
      readonly [N in Name]: z.ZodOptional<Kinds[N]['schema']>;
    },
  )
  .refine((config) => Object.values(config).some((each) => each !== undefined), {
    error: 'name a platform, for instance "tpm: {}"; several must all pass',
  });
export type EvidenceConfig = z.infer<typeof EvidenceConfig>;

/** Bounds for a token, or the certificates of a cluster's CA. */
const READING = { maxBytes: 1024 * 1024, code: 'file' } as const;

const readFile: ReadFile = async (path, kind) =>
  kind === 'trusted' ? readTrustedFile(path, READING) : readWholeFile(path, READING);

export type OpenDeps = Pick<EvidenceDeps, 'trustDomain' | 'env' | 'clock'>;

/** All that are configured, as one. The caller closes it. Throws config. */
export function openEvidence(config: EvidenceConfig, deps: OpenDeps): EvidenceSource {
  const outbound = openOutbound();
  const all = { ...deps, outbound, readFile };
  const source = allOf(
    kinds.flatMap(([name, kind]) => (config[name] === undefined ? [] : [kind.create(config[name], all)])),
  );
  const close = async (): Promise<void> => {
    await source.close();
    outbound.close();
  };
  return { ...source, close };
}

/** One platform, and what was found of it. */
export interface Detected extends Detection {
  readonly platform: Name;
}

/** A metadata server answers within milliseconds; without one there may never be an answer. */
const DETECT_MS = 2_000;

/** Looks for every platform at once; in order of preference. Takes at most two seconds. */
export async function detectAll(
  deps: Pick<OpenDeps, 'env' | 'clock'>,
  signal: AbortSignal,
): Promise<readonly Detected[]> {
  const outbound = openOutbound();
  const limit = AbortSignal.any([signal, AbortSignal.timeout(DETECT_MS)]);
  const all = { ...deps, outbound, readFile };
  try {
    return await Promise.all(
      kinds.map(async ([platform, kind]) => ({ platform, ...(await kind.detect(all, limit)) })),
    );
  } finally {
    outbound.close();
  }
}

/** The config of a platform that was found. */
export const configOf = ({ platform, config = {} }: Detected): EvidenceConfig =>
  EvidenceConfig.parse({ [platform]: config });

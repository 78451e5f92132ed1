/** The list of platforms on the agent's side: exactly one is configured. */
import { IdentityError } from '@chancery/shared/errors.ts';
import { z } from 'zod';
import type { EvidenceSource } from './evidence.ts';
import { tpmEvidenceKind } from './tpm.ts';
import { unixEvidenceKind } from './unix.ts';

export const EvidenceConfig = z
  .strictObject({
    tpm: tpmEvidenceKind.schema.optional().describe("This machine's TPM 2.0."),
    unix: unixEvidenceKind.schema.optional().describe("Nothing: the CA's own unix socket is called."),
  })
  .refine((config) => Object.values(config).filter((each) => each !== undefined).length === 1, {
    error: 'name exactly one platform, for instance "tpm: {}"',
  });
export type EvidenceConfig = z.infer<typeof EvidenceConfig>;

/** The caller closes it. Throws config. */
export function evidenceFrom({ tpm, unix }: EvidenceConfig): EvidenceSource {
  if (tpm !== undefined) return tpmEvidenceKind.create(tpm);
  if (unix !== undefined) return unixEvidenceKind.create(unix);
  throw new IdentityError('config', 'no platform is configured');
}

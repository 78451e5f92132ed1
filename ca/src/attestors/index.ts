/** The list of platforms: a line in the schema and a line in the list is all that a new one takes here. */
import { z } from 'zod';
import type { Attestor, AttestorDeps } from './attestor.ts';
import { tpmKind } from './tpm.ts';
import { unixKind } from './unix.ts';

export const AttestorsConfig = z.strictObject({
  tpm: tpmKind.schema.optional().describe('Machines with a TPM 2.0.'),
  unix: unixKind.schema.optional().describe("Processes on the CA's own machine, over its own socket."),
});
export type AttestorsConfig = z.infer<typeof AttestorsConfig>;

/** Those that are configured. Throws config. */
export function attestorsFrom(config: AttestorsConfig, deps: AttestorDeps): readonly Attestor[] {
  const { tpm, unix } = config;
  return [tpm && tpmKind.create(tpm, deps), unix && unixKind.create(unix, deps)].filter(
    (attestor) => attestor !== undefined,
  );
}

/** Evidence on the CA's own unix socket: none. The kernel tells the CA who is calling. */
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { z } from 'zod';
import type { EvidenceKind, EvidenceSource } from './evidence.ts';

const UnixEvidenceConfig = z.strictObject({});
type UnixEvidenceConfig = z.infer<typeof UnixEvidenceConfig>;

export const unixEvidenceKind: EvidenceKind<UnixEvidenceConfig> = {
  platform: 'unix',
  says: "No evidence: the agent calls the CA's own unix socket.",
  schema: UnixEvidenceConfig,
  create: unixEvidence,
  async detect() {
    return { usable: false, says: "only on the CA's own machine, and only where the config asks for it" };
  },
};

/** Sends no evidence. The exchange throws out_of_order if the CA asks a question. Needs no closing. */
export function unixEvidence(): EvidenceSource {
  return {
    platform: 'unix',
    async begin() {
      return {
        opening: new Uint8Array(),
        async answer() {
          throw new IdentityError('out_of_order', 'the CA has no question to ask a unix caller');
        },
        async end() {},
      };
    },
    async close() {},
  };
}

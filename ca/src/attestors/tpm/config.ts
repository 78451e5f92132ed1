/** The `tpm` attestor's config, and the policy that it becomes. */
import { type ManufacturerTrust, TCG_PROFILE } from '@chancery/shared/tpm/endorsement.ts';
import { z } from 'zod';
import { GCE_PROFILE } from './gce.ts';
import { type ManufacturerDeps, readManufacturers } from './manufacturers.ts';

/** PC Client Platform TPM Profile: any software may reset these two, so their values prove nothing. */
const RESETTABLE = ['16', '23'];
const INDEX = /^(\d|1\d|2[0-3])$/;

const pcrIndex = z
  .string()
  .regex(INDEX, 'a PCR is a number from 0 to 23')
  .refine((index) => !RESETTABLE.includes(index), {
    error: ({ input }) =>
      `PCR ${input} can be reset by any software and proves nothing: write one of 0 to 15 or 17 to 22 instead`,
  });

const digest = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'a PCR value is 64 lower-case hexadecimal digits: the SHA-256 bank');

const PROFILES = { tcg: TCG_PROFILE, gce: GCE_PROFILE };

export const TpmConfig = z.strictObject({
  profile: z
    .enum(['tcg', 'gce'])
    .default('tcg')
    .describe(
      "What EK certificates look like: the TCG's profile, or Google's for Shielded VMs of Compute Engine.",
    ),
  roots: z
    .array(z.string())
    .min(1)
    .describe("Files (PEM, or one in DER) with the manufacturers' root certificates. Relative to this file."),
  intermediates: z
    .array(z.string())
    .default([])
    .describe(
      'Files (PEM, or one in DER) with intermediates, which most TPMs do not have. Relative to this file.',
    ),
  pcrs: z
    .record(pcrIndex, z.array(digest).min(1))
    .default({})
    .describe(
      'Allowed SHA-256 values for each PCR; PCRs 0 to 7 are quoted and become attributes in any case.',
    ),
  softwareKeys: z
    .boolean()
    .default(true)
    .describe('Whether keys outside the TPM are certified too; the attribute `key` says which it was.'),
  eventLog: z
    .literal('required')
    .optional()
    .describe('Refuses nodes without an event log; one that is sent must always explain the PCRs.'),
});
export type TpmConfig = z.infer<typeof TpmConfig>;

export interface TpmPolicy {
  readonly trust: ManufacturerTrust;
  /** PCRs to quote, ascending. */
  readonly selected: readonly number[];
  readonly allowed: ReadonlyMap<number, ReadonlySet<string>>;
  readonly softwareKeys: boolean;
  readonly needsEventLog: boolean;
}

/** The firmware's own, PC Client Platform Firmware Profile, section 3.3.4. */
const ALWAYS = [0, 1, 2, 3, 4, 5, 6, 7];

/** Throws config. */
export function tpmPolicy(config: TpmConfig, deps: ManufacturerDeps): TpmPolicy {
  const allowed = new Map(
    Object.entries(config.pcrs).map(([index, values]) => [Number(index), new Set(values)]),
  );
  return {
    trust: {
      anchors: readManufacturers({ kind: 'roots', paths: config.roots }, deps),
      profile: PROFILES[config.profile],
      intermediates: readManufacturers({ kind: 'intermediates', paths: config.intermediates }, deps),
    },
    selected: [...new Set([...ALWAYS, ...allowed.keys()])].sort((a, b) => a - b),
    allowed,
    softwareKeys: config.softwareKeys,
    needsEventLog: config.eventLog === 'required',
  };
}

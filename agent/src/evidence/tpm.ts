/**
 * Evidence from a TPM 2.0: its endorsement key, an attestation key beside it, the PCRs, and the certified key where
 * that lives in the TPM too. Mirrors ca/attestors/tpm.ts.
 */
import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { concat } from '@chancery/shared/bytes.ts';
import { IdentityError } from '@chancery/shared/errors.ts';
import {
  packAnswer,
  packOpening,
  type Statement,
  type TpmQuestion,
  unpackQuestion,
} from '@chancery/shared/evidence/tpm.ts';
import { ENDORSEMENT } from '@chancery/shared/tpm/algorithms.ts';
import { AK } from '@chancery/shared/tpm/templates.ts';
import { z } from 'zod';
import type { EvidenceKind, EvidenceSource, Exchange } from './evidence.ts';
import { TpmCommands, type TpmObject } from './tpm-commands.ts';
import { openTpm } from './tpm-device.ts';
import { type EndorsementKey, findEndorsementKey } from './tpm-endorsement.ts';

const DEVICE = /^(\/\S+|unix:\S+|tcp:\S+:\d{1,5})$/;

export const TpmEvidenceConfig = z.strictObject({
  device: z
    .string()
    .regex(DEVICE, 'a device is /dev/tpmrm0, unix:PATH or tcp:HOST:PORT')
    .refine((path) => !/^\/dev\/tpm\d+$/.test(path), 'use /dev/tpmrm0: /dev/tpm0 has no resource manager')
    .default('/dev/tpmrm0')
    .describe('The TPM: /dev/tpmrm0, or a software TPM as unix:PATH or tcp:HOST:PORT.'),
  eventLog: z
    .string()
    .optional()
    .describe("The firmware's event log, usually /sys/kernel/security/tpm0/binary_bios_measurements."),
});
export type TpmEvidenceConfig = z.infer<typeof TpmEvidenceConfig>;

export const tpmEvidenceKind: EvidenceKind<TpmEvidenceConfig> = {
  platform: 'tpm',
  schema: TpmEvidenceConfig,
  create: tpmEvidence,
};

/** Opens the device for each exchange and closes it after, so that others may use the TPM in between. */
export function tpmEvidence(config: TpmEvidenceConfig): EvidenceSource {
  return {
    platform: 'tpm',
    async begin(_spki, signal) {
      const eventLog = await readEventLog(config.eventLog);
      signal.throwIfAborted();
      const device = await openTpm(config.device);
      signal.addEventListener('abort', device.close, { once: true });
      const close = (): void => {
        signal.removeEventListener('abort', device.close);
        device.close();
      };
      const tpm = new TpmCommands(device);
      try {
        return exchangeWith(tpm, await loadKeys(tpm), eventLog, close);
      } catch (error) {
        close();
        throw error;
      }
    },
    async close() {},
  };
}

interface Keys {
  readonly ek: EndorsementKey;
  readonly ak: TpmObject;
}

async function loadKeys(tpm: TpmCommands): Promise<Keys> {
  await tpm.flushAll();
  const ek = await findEndorsementKey(tpm);
  // A primary is derived from the TPM's seed: the same each time, and nothing to store.
  const ak = await tpm.createPrimary(ENDORSEMENT, AK);
  return { ek, ak };
}

function exchangeWith(tpm: TpmCommands, keys: Keys, eventLog: Uint8Array, close: () => void): Exchange {
  const { ek, ak } = keys;
  return {
    opening: packOpening({
      ekCertificate: ek.certificate,
      ekPublic: ek.publicArea,
      akPublic: ak.publicArea,
      keyPublic: new Uint8Array(),
      eventLog,
    }),
    async answer(question, binding) {
      const asked = unpackQuestion(question);
      const secret = await activate(tpm, keys, asked);
      const quote: Statement = await tpm.quote(ak.handle, binding, asked.selection);
      const pcrValues = await readPcrs(tpm, asked.selection);
      const proof = createHmac('sha256', secret).update(binding).digest();
      const nothing = new Uint8Array();
      return packAnswer({ proof, quote, pcrValues, certify: { attest: nothing, signature: nothing } });
    },
    async end() {
      try {
        await tpm.flushAll();
      } finally {
        close();
      }
    },
  };
}

async function activate(tpm: TpmCommands, { ek, ak }: Keys, question: TpmQuestion): Promise<Uint8Array> {
  const session = ek.byPolicy ? await tpm.endorsementSession() : undefined;
  const handles = { ak: ak.handle, ek: ek.handle, session };
  return tpm.activateCredential(handles, question.credential, question.encryptedSeed);
}

/** TPML_PCR_SELECTION of one bank: count u32, hash u16, size u8, bitmap. */
const BITMAP_OFFSET = 7;

/** Asks for what is left until all was read; a TPM gives eight values a call at most. */
async function readPcrs(tpm: TpmCommands, selection: Uint8Array): Promise<Uint8Array> {
  const left = Uint8Array.from(selection);
  const values: Uint8Array[] = [];
  while (left.subarray(BITMAP_OFFSET).some((byte) => byte !== 0)) {
    const body = await tpm.pcrRead(left);
    body.u32('PCR update counter');
    const read = body.take(selection.length, 'PCR selection').subarray(BITMAP_OFFSET);
    const count = body.u32('count of PCR values');
    if (count === 0) throw new IdentityError('tpm_device', 'the TPM has no such PCR bank');
    for (let i = 0; i < count; i++) values.push(body.sized16('PCR value'));
    for (const [at, byte] of read.entries())
      left[BITMAP_OFFSET + at] = (left[BITMAP_OFFSET + at] ?? 0) & ~byte;
  }
  return concat(...values);
}

async function readEventLog(path: string | undefined): Promise<Uint8Array> {
  if (path === undefined) return new Uint8Array();
  try {
    return await readFile(path);
  } catch (error) {
    throw new IdentityError('tpm_device', `the event log ${path} cannot be read`, { cause: error });
  }
}

/**
 * Evidence from a TPM 2.0: its endorsement key, an attestation key beside it, the PCRs, and the certified key where
 * that lives in the TPM too. Mirrors ca/attestors/tpm.ts.
 */
import { createHmac } from 'node:crypto';
import { access, constants } from 'node:fs/promises';
import {
  MAX_EVENT_LOG,
  packAnswer,
  packOpening,
  type Statement,
  type TpmQuestion,
  unpackQuestion,
} from '@chancery/shared/evidence/tpm.ts';
import { concat, hex } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { systemSentence } from '@chancery/shared/text/system-sentence.ts';
import { ENDORSEMENT } from '@chancery/shared/tpm/algorithms.ts';
import { AK } from '@chancery/shared/tpm/templates.ts';
import { inFile, readWholeFile } from '@chancery/shared/unix/files/whole-file.ts';
import { z } from 'zod';
import type { EvidenceKind, EvidenceSource, Exchange, PlatformKey } from './evidence.ts';
import { TpmCommands, type TpmObject, type WrappedKey } from './tpm/commands.ts';
import { openTpm, type TpmDevice } from './tpm/device.ts';
import { type EndorsementKey, findEndorsementKey } from './tpm/endorsement.ts';
import { createTpmKey, loadTpmKey, signWithTpmKey, spkiOfTpmKey, writeTpmKeyPem } from './tpm/key.ts';

const DEFAULT_DEVICE = '/dev/tpmrm0';
const DEVICE = /^(\/\S+|unix:\S+|tcp:\S+:\d{1,5})$/;

export const TpmEvidenceConfig = z.strictObject({
  device: z
    .string()
    .regex(DEVICE, 'a device is /dev/tpmrm0, unix:PATH or tcp:HOST:PORT')
    .refine((path) => !/^\/dev\/tpm\d+$/.test(path), 'use /dev/tpmrm0: /dev/tpm0 has no resource manager')
    .default(DEFAULT_DEVICE)
    .describe('The TPM: /dev/tpmrm0, or a software TPM as unix:PATH or tcp:HOST:PORT.'),
  key: z
    .enum(['memory', 'tpm'])
    .default('memory')
    .describe(
      'Where the certified key lives. One in the TPM is for programs that read its file: outputs only.',
    ),
  ekCertificate: z
    .string()
    .regex(/^\//, 'an absolute path')
    .optional()
    .describe(
      "File (PEM or DER) with the endorsement key's certificate, for TPMs without one. In PEM its issuers may follow.",
    ),
  eventLog: z
    .string()
    .optional()
    .describe("The firmware's event log, usually /sys/kernel/security/tpm0/binary_bios_measurements."),
});
export type TpmEvidenceConfig = z.infer<typeof TpmEvidenceConfig>;

export const tpmEvidenceKind: EvidenceKind<TpmEvidenceConfig> = {
  platform: 'tpm',
  says: "This machine's TPM 2.0.",
  schema: TpmEvidenceConfig,
  create: tpmEvidence,
  async detect() {
    try {
      await access(DEFAULT_DEVICE, constants.R_OK | constants.W_OK);
      return { usable: true, says: `${DEFAULT_DEVICE} can be opened` };
    } catch (error) {
      return { usable: false, says: whyNoDevice(error) };
    }
  },
};

function whyNoDevice(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return `no ${DEFAULT_DEVICE}: no TPM 2.0, or its driver is not loaded`;
  if (code === 'EACCES')
    return `${DEFAULT_DEVICE} may not be opened by this user: add the user to the group of the device, often tss`;
  return `${DEFAULT_DEVICE}: ${systemSentence(error) ?? String(error)}`;
}

/** Opens the device for each exchange and closes it after, so that others may use the TPM in between. */
export function tpmEvidence(config: TpmEvidenceConfig): EvidenceSource {
  const keys = new Map<string, WrappedKey>();
  const open = oneAtATime(() => openTpm(config.device));
  const source: EvidenceSource = {
    platform: 'tpm',
    async begin(spki, signal) {
      const eventLog = readEventLog(config.eventLog);
      const certified = keys.get(hex(spki));
      ensure(
        certified !== undefined || config.key === 'memory',
        'tpm_device',
        'the TPM has not made this key',
      );
      const device = await open(signal);
      const tpm = new TpmCommands(device);
      try {
        return exchangeWith(device, await loadKeys(tpm, certified, config.ekCertificate), eventLog);
      } catch (error) {
        device.close();
        throw error;
      }
    },
    async close() {},
  };
  if (config.key === 'memory') return source;
  return { ...source, createKey: () => createKey(open, keys) };
}

type Open = (signal?: AbortSignal) => Promise<TpmDevice>;

/** A device serves one client at a time: opening it waits until the client before has closed it. */
function oneAtATime(openDevice: () => Promise<TpmDevice>): Open {
  let last: Promise<void> = Promise.resolve();
  return async (signal) => {
    const before = last;
    const { promise, resolve } = Promise.withResolvers<void>();
    last = promise;
    try {
      await before;
      signal?.throwIfAborted();
      const device = await openDevice();
      const close = (): void => {
        signal?.removeEventListener('abort', close);
        device.close();
        resolve();
      };
      signal?.addEventListener('abort', close, { once: true });
      if (signal?.aborted) close();
      return { transmit: device.transmit, close };
    } catch (error) {
      resolve();
      throw error;
    }
  };
}

async function createKey(open: Open, keys: Map<string, WrappedKey>): Promise<PlatformKey> {
  const key = await using(open, createTpmKey);
  const spki = spkiOfTpmKey(key);
  // Only the newest key is ever certified. An older one that is still in use is in its own file.
  keys.clear();
  keys.set(hex(spki), key);
  return {
    spki,
    algorithm: 'ecdsa-p256',
    pem: writeTpmKeyPem(key),
    sign: (data) => using(open, (tpm) => signWithTpmKey(tpm, key, data)),
  };
}

async function using<T>(open: Open, use: (tpm: TpmCommands) => Promise<T>): Promise<T> {
  const device = await open();
  try {
    const tpm = new TpmCommands(device);
    await tpm.flushAll();
    return await use(tpm);
  } finally {
    device.close();
  }
}

interface Keys {
  readonly ek: EndorsementKey;
  readonly ak: TpmObject;
  /** The key to be certified, if it lives in the TPM. */
  readonly key: TpmObject | undefined;
}

async function loadKeys(
  tpm: TpmCommands,
  certified: WrappedKey | undefined,
  ekFile: string | undefined,
): Promise<Keys> {
  await tpm.flushAll();
  const key = certified && (await loadTpmKey(tpm, certified));
  const ek = await findEndorsementKey(tpm, ekFile);
  // A primary is derived from the TPM's seed: the same each time, and nothing to store.
  const ak = await tpm.createPrimary(ENDORSEMENT, AK);
  return { ek, ak, key };
}

function exchangeWith(device: TpmDevice, keys: Keys, eventLog: Uint8Array): Exchange {
  const tpm = new TpmCommands(device);
  const { ek, ak, key } = keys;
  return {
    opening: packOpening({
      ekCertificate: ek.certificate,
      ekChain: ek.chain,
      ekPublic: ek.publicArea,
      akPublic: ak.publicArea,
      keyPublic: key?.publicArea ?? NOTHING,
      eventLog,
    }),
    async answer(question, binding) {
      const asked = unpackQuestion(question);
      const secret = await activate(tpm, keys, asked);
      const certify = key === undefined ? NO_STATEMENT : await tpm.certify(key.handle, ak.handle, binding);
      const quote = await tpm.quote(ak.handle, binding, asked.selection);
      const pcrValues = await readPcrs(tpm, asked.selection);
      const proof = createHmac('sha256', secret).update(binding).digest();
      return packAnswer({ proof, quote, pcrValues, certify });
    },
    async end() {
      try {
        await tpm.flushAll();
      } finally {
        device.close();
      }
    },
  };
}

const NOTHING = new Uint8Array();
const NO_STATEMENT: Statement = { attest: NOTHING, signature: NOTHING };

async function activate(tpm: TpmCommands, { ek, ak }: Keys, question: TpmQuestion): Promise<Uint8Array> {
  const session = ek.byPolicy ? await tpm.endorsementSession() : undefined;
  const handles = { ak: ak.handle, ek: ek.handle, session };
  return tpm.activateCredential(handles, question.credential, question.encryptedSeed);
}

/** TPML_PCR_SELECTION of one bank: count u32, hash u16, size u8, bitmap. */
const BITMAP_OFFSET = 7;

/** Asks until all PCRs are read: a TPM gives at most eight values per call. */
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

/** The kernel's file reports no size. The quote proves its content. */
function readEventLog(path: string | undefined): Uint8Array {
  if (path === undefined) return new Uint8Array();
  const reading = { maxBytes: MAX_EVENT_LOG, code: 'tpm_device' } as const;
  return inFile(`the event log ${path}`, 'tpm_device', () => readWholeFile(path, reading));
}

/** Vouchers in a log of their own, as a CA gives them. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { hex } from '@chancery/shared/ground/bytes.ts';
import { signCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { type NoteKey, noteKey, writeVerifierKey } from '@chancery/shared/tlog/note.ts';
import { writeProof } from '@chancery/shared/tlog/proof-text.ts';
import { readEntryProof } from '@chancery/shared/tlog/read-log.ts';
import { type Voucher, voucherOf, voucherStatement } from '@chancery/shared/voucher/voucher.ts';
import type { Made } from './certificates.ts';
import { tileLog } from './tlog.ts';

export interface VoucherLog {
  readonly verifier: NoteKey;
  readonly text: string;
  readonly privateKey: KeyObject;
}

export function newLogKey(trustDomain: string): VoucherLog {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const verifier = noteKey(`${trustDomain}/chancery/log`, publicKey as unknown as KeyObject);
  return { verifier, text: writeVerifierKey(verifier), privateKey: privateKey as unknown as KeyObject };
}

/** `by` vouches for `next`, by its own key or by that of another root. */
export function vouchedFor(trustDomain: string, by: Made, next: Made, signer = by): Voucher {
  const statement = voucherStatement(trustDomain, by.certificate.der, next.certificate.der);
  return voucherOf(by.certificate.der, next.certificate.der, sign('sha256', statement, signer.key));
}

/** The entry of the log that publishes a root with this voucher. */
export const publication = (voucher: unknown, type = 'authority.moved'): string =>
  JSON.stringify({ at: '2026-06-01T12:00:00.000Z', type, moves: [], voucher });

/** The entry of the log by which this root signs from now on. */
export const activation = (voucher: Voucher, { certificate }: Made): string => {
  const moves = [{ serial: hex(certificate.serial), from: 'published', to: 'active' }];
  return JSON.stringify({ at: '2026-06-01T12:00:00.000Z', type: 'authority.moved', moves, voucher });
};

/** A proof of each entry, in a log of these entries. */
export async function proofsOf(
  entries: readonly string[],
  { verifier, privateKey }: VoucherLog,
): Promise<readonly Uint8Array[]> {
  const { files, root } = tileLog(entries.map((text) => Buffer.from(text)));
  const note = signCheckpoint({ size: entries.length, root }, verifier, privateKey);
  const read = async (path: string) => (path === 'checkpoint' ? Buffer.from(note) : files.get(path));
  return Promise.all(
    entries.map(async (_, index) => Buffer.from(writeProof(await readEntryProof(index, read, verifier)))),
  );
}

/** Whether a caller's certificate is one that this CA has recorded: a stolen authority's key makes others. */
import { hash } from 'node:crypto';
import { nodeName } from '@chancery/shared/evidence/node.ts';
import { equal } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import type { VerifiedSvid } from '@chancery/shared/x509/verify/svid.ts';
import type { CertificateStore, RecordedIssuance } from '../store/store.ts';

/** What a restored CA has of certificates that were issued after the backup: the log does not tell their keys. */
const UNKNOWN = new Uint8Array(32);

type Shown = Pick<VerifiedSvid, 'id' | 'serial' | 'certificate'>;

/** Serial, SPIFFE ID and key are as they were recorded. Throws chain. */
export function ensureRecorded(
  { id, serial, certificate }: Shown,
  record: RecordedIssuance | undefined,
): asserts record is RecordedIssuance {
  ensure(record !== undefined, 'chain', `certificate ${serial} is not on record`);
  ensure(record.id === id, 'chain', `certificate ${serial} was recorded for ${record.id}`);
  ensure(isKeyOf(certificate, record), 'chain', `certificate ${serial} was recorded with another key`);
}

/** Finds the node that a certificate was issued to; undefined for one that is not on record with its key. */
export const recordedNodes =
  (store: Pick<CertificateStore, 'issuance'>) =>
  async (svid: Shown): Promise<string | undefined> => {
    const record = await store.issuance(svid.serial);
    return isRecorded(svid, record) ? nodeName(record) : undefined;
  };

/** As `ensureRecorded`, as a value. */
export const isRecorded = (svid: Shown, record: RecordedIssuance | undefined): record is RecordedIssuance =>
  record !== undefined && record.id === svid.id && isKeyOf(svid.certificate, record);

function isKeyOf({ spki }: Shown['certificate'], { keySha256 }: RecordedIssuance): boolean {
  return equal(keySha256, UNKNOWN) || equal(keySha256, hash('sha256', spki, 'buffer'));
}

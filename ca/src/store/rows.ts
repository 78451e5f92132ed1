/** SQLite rows to values. The database is ours, so a row that does not fit is a bug or damage, and throws. */

import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { asBuffer, hex } from '@chancery/shared/bytes.ts';
import { IdentityError } from '@chancery/shared/errors.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import type { AuthorityRecord, RecordedIssuance, StoredEvent } from './store.ts';

type Row = Readonly<Record<string, unknown>>;

export function issuanceOf(row: Row): RecordedIssuance {
  return {
    serial: serialOf(row),
    id: parseSpiffeId(String(row['id'])),
    platform: String(row['platform']),
    node: String(row['node']),
    identity: String(row['identity']),
    keySha256: bytes(row, 'key_sha256'),
    issuer: hex(bytes(row, 'issuer')),
    notBefore: new Date(Number(row['not_before'])),
    notAfter: new Date(Number(row['not_after'])),
    recordedAt: new Date(Number(row['recorded_at'])),
    ...originOf(row),
  };
}

export function authorityOf(row: Row): AuthorityRecord {
  const kind = row['kind'];
  if (kind !== 'root' && kind !== 'intermediate')
    throw new IdentityError('store', `authority kind ${String(kind)}`);
  return {
    serial: serialOf(row),
    kind,
    certificate: bytes(row, 'certificate'),
    notAfter: new Date(Number(row['not_after'])),
  };
}

export function eventOf(row: Row): StoredEvent {
  return {
    sequence: Number(row['sequence']),
    at: new Date(Number(row['at'])),
    // Written by `append` from this very type.
    event: JSON.parse(String(row['event'])) as AuditEvent,
  };
}

/** Hexadecimal. */
export const serialOf = (row: Row): string => hex(bytes(row, 'serial'));

export const originOf = (row: Row): { readonly origin?: string } =>
  row['origin'] === null ? {} : { origin: hex(bytes(row, 'origin')) };

function bytes(row: Row, column: string): Uint8Array {
  const value = row[column];
  if (!(value instanceof Uint8Array)) throw new IdentityError('store', `column ${column} is not bytes`);
  return asBuffer(value);
}

/** SQLite rows to values. The database is ours, so a row that does not fit is a bug or damage, and throws. */

import type { StatementSync } from 'node:sqlite';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { MAX_ENTRY_BYTES } from '@chancery/shared/audit/leaves.ts';
import { maskedEvent } from '@chancery/shared/audit/masked.ts';
import { type Node, nodeName } from '@chancery/shared/evidence/node.ts';
import { asBuffer, base64, hex } from '@chancery/shared/ground/bytes.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { isKeyAlgorithm } from '@chancery/shared/keys/key.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import { isAuthorityState, type Standing } from '../../authority-states.ts';
import type { StoredEvent } from '../../log-store.ts';
import type {
  AuthorityKind,
  AuthorityRecord,
  Issuance,
  Numbered,
  RecordedIssuance,
  StoredAuthority,
  Succession,
} from '../../store.ts';

/**
 * Values that may cross to another thread have bytes as hexadecimal: with a view of bytes, all memory behind it would
 * cross, whatever else is in there.
 */
export type IssuanceRow = Omit<Issuance, 'keySha256'> & { readonly keySha256: string };
export type AuthorityRow = Omit<AuthorityRecord, 'certificate'> & { readonly certificate: string };

/** As it may cross to another thread. */
export const rowOf = ({ certificate, ...record }: AuthorityRecord): AuthorityRow => ({
  ...record,
  certificate: hex(certificate),
});

type Row = Readonly<Record<string, unknown>>;

/** Throws store for a column of another type. */
export function issuanceOf(row: Row): RecordedIssuance {
  return {
    serial: serialOf(row),
    id: parseSpiffeId(String(row['id'])),
    platform: String(row['platform']),
    node: String(row['node']),
    identity: String(row['identity']),
    keySha256: bytes(row, 'key_sha256'),
    issuer: issuerOf(row),
    notBefore: new Date(Number(row['not_before'])),
    notAfter: new Date(Number(row['not_after'])),
    recordedAt: new Date(Number(row['recorded_at'])),
    ...originOf(row),
    ...(row['succeeds'] === null ? {} : { succeeds: hex(bytes(row, 'succeeds')) }),
    ...(row['bundle'] === 0 ? {} : { bundle: BigInt(Number(row['bundle'])) }),
  };
}

/**
 * The newest unexpired certificates whose old one is unexpired, too, oldest first, as one JSON text; the arguments are
 * the time and how many. An index is read for all of them, and records for those that are returned. A start reads
 * thousands, and rows of columns would cost it more than reading them.
 */
export const SUCCESSIONS = `
  SELECT json_group_array(
    json_array(lower(hex(succeeds)), lower(hex(serial)), succeeds_until, platform, node) ORDER BY n) AS text
  FROM certificates WHERE n IN (SELECT n FROM certificates INDEXED BY certificates_succession
    WHERE succeeds_until > ?1 AND not_after > ?1 ORDER BY n DESC LIMIT ?2)`;

/** Of the text of SUCCESSIONS, with one object for each node. */
export function successionsOf(text: string): readonly Succession[] {
  const nodes = new Map<string, Node>();
  return (JSON.parse(text) as readonly SuccessionRow[]).map(([old, next, until, platform, node]) => {
    const name = nodeName({ platform, node });
    const known = nodes.get(name) ?? { platform, node };
    nodes.set(name, known);
    return { old, next, until: new Date(until), node: known };
  });
}

type SuccessionRow = readonly [old: string, next: string, until: number, platform: string, node: string];

/** Throws store for an unknown kind, state or algorithm, and for a column of another type. */
export function authorityOf(row: Row): AuthorityRecord {
  const { serial, kind, state } = standingOf(row);
  const algorithm = String(row['algorithm']);
  if (!isKeyAlgorithm(algorithm)) throw new IdentityError('store', `authority algorithm ${algorithm}`);
  return {
    serial,
    kind,
    state,
    algorithm,
    key: { home: String(row['key_home']), reference: String(row['key_reference']) },
    certificate: bytes(row, 'certificate'),
    notAfter: new Date(Number(row['not_after'])),
    ...(row['standby'] === 1 && { standby: true }),
    ...(row['tainted_at'] !== null && { taintedAt: new Date(Number(row['tainted_at'])) }),
  };
}

/** Of a row of an authority, also of a schema that knew none. */
export function crossOf(row: Row): Pick<StoredAuthority, 'cross' | 'crossLost'> {
  const text = row['cross_chain'];
  const sequence = BigInt(Number(row['cross_sequence'] ?? 0));
  if (typeof text !== 'string') return sequence === 0n ? {} : { crossLost: sequence };
  // Written by `crossText`. Memory of its own: it may cross to another thread.
  const chain = (JSON.parse(text) as readonly string[]).map(
    (each) => new Uint8Array(Buffer.from(each, 'base64')),
  );
  return { cross: { chain, sequence } };
}

/** As `crossOf` reads it. */
export const crossText = (chain: readonly Uint8Array[]): string => JSON.stringify(chain.map(base64));

/** Throws store for an unknown kind or state. */
export function standingOf(row: Row): Standing & Pick<AuthorityRecord, 'kind'> {
  const [kind, state] = [String(row['kind']), String(row['state'])];
  if (!isKind(kind)) throw new IdentityError('store', `authority kind ${kind}`);
  if (!isAuthorityState(state)) throw new IdentityError('store', `authority state ${state}`);
  return { serial: serialOf(row), kind, state, standby: row['standby'] === 1, ...sequenceOf(row) };
}

const isKind = (kind: string): kind is AuthorityKind => kind === 'root' || kind === 'intermediate';

/** The text is trusted: only this program writes it. */
export function eventOf(row: Row): StoredEvent {
  return {
    sequence: Number(row['sequence']),
    at: new Date(Number(row['at'])),
    // Written by `append` from this very type.
    event: JSON.parse(String(row['event'])) as AuditEvent,
  };
}

/** Of the state in which the row was written. */
export const sequenceOf = (row: Row): Numbered => ({ sequence: BigInt(Number(row['sequence'])) });

/** Hexadecimal. */
export const serialOf = (row: Row): string => hex(bytes(row, 'serial'));

/** Hexadecimal. */
export const issuerOf = (row: Row): string => hex(bytes(row, 'issuer'));

/** Empty for a certificate that was not issued with another one. */
export const originOf = (row: Row): { readonly origin?: string } =>
  row['origin'] === null ? {} : { origin: hex(bytes(row, 'origin')) };

function bytes(row: Row, column: string): Uint8Array {
  const value = row[column];
  if (!(value instanceof Uint8Array)) throw new IdentityError('store', `column ${column} is not bytes`);
  return value;
}

/** The statement that `insertIssuance` runs. */
export const INSERT_ISSUANCE = `INSERT INTO certificates
  VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?12, ?, (SELECT not_after FROM certificates WHERE serial = ?12))`;

/** Binds the columns in the order of the statement. Blocks; throws what SQLite throws. */
export function insertIssuance(statement: StatementSync, issuance: IssuanceRow, at: number): void {
  statement.run(
    fromHex(issuance.serial),
    issuance.id,
    issuance.platform,
    issuance.node,
    issuance.identity,
    fromHex(issuance.keySha256),
    fromHex(issuance.issuer),
    issuance.notBefore.getTime(),
    issuance.notAfter.getTime(),
    at,
    issuance.origin === undefined ? null : fromHex(issuance.origin),
    issuance.succeeds === undefined ? null : fromHex(issuance.succeeds),
    issuance.bundle ?? 0n,
  );
}

/** Stops at the first digit that is not hexadecimal: the caller passes checked text. */
export const fromHex = (text: string): Buffer => Buffer.from(text, 'hex');

/** The least and the greatest serial that begin with these digits. No serial is longer than 20 bytes. */
export function serialsFrom(prefix: string): readonly [Uint8Array, Uint8Array] {
  const even = prefix.length + (prefix.length % 2);
  return [fromHex(prefix.padEnd(even, '0')), fromHex(prefix.padEnd(42, 'f'))];
}

/**
 * As it is stored: on one line, without control characters and known secrets, each string bounded as it is written
 * there. No words of a peer make it too long for an entry of the log; only many strings do.
 */
export function textOfEvent(event: AuditEvent): string {
  // Before it is cut: the beginning of a secret may have another shape.
  const json = JSON.stringify(event);
  const kept = maskedEvent(event, json);
  const text = printable(kept === event ? json : JSON.stringify(kept));
  if (text.length <= MAX_TEXT) return text;
  const bounded = boundedText(kept, MAX_TEXT);
  return Buffer.byteLength(bounded) <= LONG_BYTES ? bounded : boundedText(kept, SHORT_TEXT);
}

/** What a peer says, such as an attribute or a name, must not fill the disk by one event. */
const MAX_TEXT = 4096;
const SHORT_TEXT = 512;
/** The time comes to it. */
const LONG_BYTES = MAX_ENTRY_BYTES - 4096;

const boundedText = (event: AuditEvent, most: number): string =>
  printable(
    JSON.stringify(event, (_, value) =>
      typeof value === 'string' && lengthOf(value) > most ? `${cut(value, most)}...` : value,
    ),
  );

/** As it is stored. */
const lengthOf = (value: string): number => printable(JSON.stringify(value)).length - 2;

/** The beginning, which is at most so long as it is stored. */
function cut(value: string, most: number): string {
  let begin = value.slice(0, most);
  for (let length = lengthOf(begin); length > most; length = lengthOf(begin))
    begin = begin.slice(0, Math.floor((begin.length * most) / length));
  return begin;
}

/** A Buffer that crosses a thread arrives without its methods. */
export const arrived = (issuance: RecordedIssuance): RecordedIssuance => ({
  ...issuance,
  keySha256: asBuffer(issuance.keySha256),
});

/** As `arrived`. */
export const arrivedAuthority = (each: StoredAuthority): StoredAuthority => ({
  ...each,
  certificate: asBuffer(each.certificate),
});

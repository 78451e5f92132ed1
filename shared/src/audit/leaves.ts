/** Which audit events are entries of the Merkle log, and what an entry is. */
import { hash } from 'node:crypto';
import type { AuditEvent } from './event.ts';

/**
 * An entry is evidence: what was given, refused, changed or done. Telemetry says how agents are; it is kept in the
 * database alone.
 */
const KINDS: Readonly<Record<AuditEvent['type'], 'entry' | 'telemetry'>> = {
  'svid.issuing': 'entry',
  'svid.issued': 'entry',
  'svid.failed': 'entry',
  'node.attested': 'entry',
  'request.refused': 'entry',
  'operator.acting': 'entry',
  'registry.applied': 'entry',
  'authority.certifying': 'entry',
  'authority.certified': 'entry',
  'authority.moved': 'entry',
  'revocation.made': 'entry',
  'revocation.lifted': 'entry',
  'agent.connected': 'telemetry',
  'agent.acknowledged': 'telemetry',
};

/** Whether the event becomes an entry of the log. */
export const isLeaf = ({ type }: Pick<AuditEvent, 'type'>): boolean => KINDS[type] === 'entry';

/** A bundle has two bytes for the length of an entry. */
const MAX_BYTES = 0xffff;

/**
 * The entry of an event: its JSON with the time in front. `event` is the stored text, an object that begins with its
 * type. An event that is too long for an entry is one with its type, its length in bytes and its SHA-256.
 */
export function entryText(at: Date, event: string): string {
  const time = `{"at":"${at.toISOString()}",`;
  const entry = `${time}${event.slice(1)}`;
  // UTF-8 has at most three bytes for a unit of UTF-16.
  if (entry.length * 3 <= MAX_BYTES || Buffer.byteLength(entry) <= MAX_BYTES) return entry;
  const { type } = JSON.parse(event) as Pick<AuditEvent, 'type'>;
  const about = { type, bytes: Buffer.byteLength(event), sha256: hash('sha256', event, 'hex') };
  return `${time}${JSON.stringify(about).slice(1)}`;
}

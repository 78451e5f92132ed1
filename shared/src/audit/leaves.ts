/** Which audit events are entries of the Merkle log, and what an entry is. */
import { hash } from 'node:crypto';
import type { CallRecord } from './call-record.ts';
import type { AuditEvent } from './event.ts';

export const DECISIONS = ['allowed', 'denied', 'failed'] as const;

export type Decision = (typeof DECISIONS)[number];

interface Kind {
  /**
   * An entry is evidence: what was given, refused, changed or done. Telemetry says how agents are; it is kept in the
   * database alone.
   */
  readonly is: 'entry' | 'telemetry';
  /** How a request ended, if the event says that: for every event of this type, or by what it has. */
  readonly decision?: Decision | ((event: AuditEvent) => Decision | undefined);
}

function decisionOfCall(event: AuditEvent): Decision | undefined {
  if (event.type !== 'call.recorded') return undefined;
  // A cut event has no record.
  const { allow, outcome }: Partial<CallRecord> = event.record ?? {};
  // Of an `unknown` one nobody can say whether it failed.
  if (outcome === 'error') return 'failed';
  if (allow === undefined) return undefined;
  return allow === true ? 'allowed' : 'denied';
}

const KINDS: Readonly<Record<AuditEvent['type'], Kind>> = {
  'svid.issuing': { is: 'entry' },
  'svid.issued': { is: 'entry', decision: 'allowed' },
  'svid.failed': { is: 'entry', decision: 'failed' },
  'node.attested': { is: 'entry', decision: 'allowed' },
  'operator.signedIn': { is: 'entry', decision: 'allowed' },
  'request.refused': { is: 'entry', decision: 'denied' },
  'operator.acting': { is: 'entry' },
  'registry.applied': { is: 'entry' },
  'authority.certifying': { is: 'entry' },
  'authority.certified': { is: 'entry' },
  'authority.moved': { is: 'entry' },
  'authority.tainted': { is: 'entry' },
  'jwtKey.made': { is: 'entry' },
  'jwtKey.moved': { is: 'entry' },
  'jwtKey.tainted': { is: 'entry' },
  'authority.requested': { is: 'entry' },
  'authority.requestDropped': { is: 'entry' },
  'authority.imported': { is: 'entry', decision: 'allowed' },
  'authority.crossRequested': { is: 'entry' },
  'authority.crossCertified': { is: 'entry', decision: 'allowed' },
  'authority.listed': { is: 'entry', decision: 'allowed' },
  'authority.adopted': { is: 'entry' },
  'revocation.made': { is: 'entry' },
  'revocation.lifted': { is: 'entry' },
  'node.released': { is: 'entry' },
  'review.signedOff': { is: 'entry' },
  'countersign.requested': { is: 'entry' },
  'countersign.signed': { is: 'entry' },
  'countersign.used': { is: 'entry' },
  'countersign.withdrawn': { is: 'entry' },
  'ca.restored': { is: 'entry' },
  'ca.handedBack': { is: 'entry' },
  'ca.entriesLost': { is: 'entry' },
  'ca.issuesAgain': { is: 'entry' },
  'log.pruned': { is: 'entry' },
  'call.recorded': { is: 'entry', decision: decisionOfCall },
  'agent.connected': { is: 'telemetry' },
  'agent.acknowledged': { is: 'telemetry' },
};

/** Whether the event becomes an entry of the log. */
export const isLeaf = ({ type }: Pick<AuditEvent, 'type'>): boolean => KINDS[type].is === 'entry';

/** Undefined if the event does not say how a request ended. */
export function decisionOf(event: AuditEvent): Decision | undefined {
  const decision = KINDS[event.type]?.decision;
  return typeof decision === 'function' ? decision(event) : decision;
}

/** A bundle has two bytes for the length of an entry. */
export const MAX_ENTRY_BYTES = 0xffff;

/**
 * The entry of an event: its JSON with the time in front. `event` is the stored text, an object that begins with its
 * type. An event that is too long for an entry is cut: its type, its length in bytes and its SHA-256. A call keeps its
 * place in its spool, so that a CA made from the log knows that it has come.
 */
export function entryText(at: Date, event: string): string {
  const time = `{"at":"${at.toISOString()}",`;
  const entry = `${time}${event.slice(1)}`;
  // UTF-8 has at most three bytes for a unit of UTF-16.
  if (entry.length * 3 <= MAX_ENTRY_BYTES || Buffer.byteLength(entry) <= MAX_ENTRY_BYTES) return entry;
  const about = {
    ...placeOf(JSON.parse(event) as AuditEvent),
    bytes: Buffer.byteLength(event),
    sha256: hash('sha256', event, 'hex'),
  };
  return `${time}${JSON.stringify(about).slice(1)}`;
}

function placeOf(event: AuditEvent): object {
  if (event.type !== 'call.recorded') return { type: event.type };
  const { type, reporter, serial, spool, number, foreign } = event;
  return { type, reporter, serial, spool, number, ...(foreign && { foreign }) };
}

/** Whether it was read from an entry that was too long: it has little but its type, whatever that promises. */
export const isCut = (event: AuditEvent): boolean => 'bytes' in event && 'sha256' in event;

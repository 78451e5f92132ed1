/**
 * What a revocation names, and why: one certificate, one SPIFFE ID, all that match a pattern, a node, or an authority
 * by its key.
 */
import { ensure, IdentityError } from '../ground/errors.ts';
import { compileSpiffePattern } from '../policy/patterns/spiffe.ts';
import { parseSpiffeId, type SpiffeId, type TrustDomain, trustDomainOf } from '../spiffe/id.ts';

/** The reasons of RFC 5280 §5.3.1 that apply here, by their names there. */
export const REASONS = [
  'unspecified',
  'keyCompromise',
  'superseded',
  'cessationOfOperation',
  'privilegeWithdrawn',
] as const;
export type Reason = (typeof REASONS)[number];

const KINDS = ['serial', 'id', 'pattern', 'node', 'authority'] as const;

/**
 * A serial in lower-case hexadecimal, a SPIFFE ID, a pattern of them, a node as `platform/node`, or an authority by the
 * SHA-256 of its SubjectPublicKeyInfo: with a stolen key anybody makes another certificate of the authority.
 */
export interface Target {
  readonly kind: (typeof KINDS)[number];
  readonly value: string;
}

export interface Revocation {
  /** Given by the CA in order, and never again. */
  readonly number: number;
  readonly target: Target;
  /**
   * Certificates that are revoked with the target: those of a node, because gateways know certificates and not nodes,
   * and those that were requested with a certificate. No others are issued while it is in force.
   */
  readonly serials: readonly string[];
  readonly reason: Reason;
  /** From then on it no longer counts; undefined for no end. */
  readonly until: Date | undefined;
}

/** As the CA has it on record. */
export interface MadeRevocation extends Revocation {
  readonly by: string;
  readonly at: Date;
}

/** RFC 5280 §4.1.2.2: at most 20 bytes. */
const SERIAL = /^([0-9a-f]{2}){1,20}$/;
const NODE = /^[^/\s]+\/\S.*$/;
const KEY = /^[0-9a-f]{64}$/;
const MAX_VALUE = 2048;

/** Whether this release knows what such a target names. */
export const isTargetKind = (kind: string): kind is Target['kind'] => KINDS.some((each) => each === kind);

/** Throws revocation for a target that nothing can match: it is a mistake, and must not look like a revocation. */
export function parseTarget(kind: string, text: string): Target {
  ensure(isTargetKind(kind), 'revocation', `nothing is revoked by ${kind || 'nothing'}`);
  ensure(text.length <= MAX_VALUE, 'revocation', `the ${kind} is ${text.length} long, at most ${MAX_VALUE}`);
  // Tools print serials in either case, with or without colons.
  const value = kind === 'serial' ? text.replaceAll(':', '').toLowerCase() : text;
  if (kind === 'serial')
    ensure(SERIAL.test(value), 'revocation', `"${text}" is not a serial in hexadecimal, of at most 20 bytes`);
  else if (kind === 'node') ensure(NODE.test(value), 'revocation', `"${text}" is not PLATFORM/NODE`);
  else if (kind === 'authority')
    ensure(KEY.test(value), 'revocation', `"${text}" is not the SHA-256 of a key, in hexadecimal`);
  else sampleOf(kind, value);
  return { kind, value };
}

/** Throws revocation if the target is a name of another trust domain. */
export function ensureOfDomain({ kind, value }: Target, trustDomain: TrustDomain): void {
  if (kind !== 'id' && kind !== 'pattern') return;
  const domain = trustDomainOf(sampleOf(kind, value));
  ensure(domain === trustDomain, 'revocation', `${value} is not of trust domain ${trustDomain}`);
}

/** Throws revocation. */
export function parseReason(text: string): Reason {
  const reason = REASONS.find((each) => each === text);
  ensure(reason !== undefined, 'revocation', `"${text}" is not a reason: ${REASONS.join(', ')}`);
  return reason;
}

/** A SPIFFE ID that the target matches. */
function sampleOf(kind: 'id' | 'pattern', text: string): SpiffeId {
  try {
    if (kind === 'pattern') compileSpiffePattern(text);
    return parseSpiffeId(kind === 'pattern' ? text.replaceAll('*', 'x') : text);
  } catch (error) {
    throw new IdentityError('revocation', error instanceof Error ? error.message : String(error), {
      cause: error,
    });
  }
}

/** For records and refusals. */
export function describeRevocation({ number, target, reason }: Revocation): string {
  return `revocation ${number} (${target.kind} ${target.value}, ${reason})`;
}

/** Of the caller's own identity, whose `revocation` is described. */
export const saysRevoked = (revocation: string): string => `this identity is revoked: ${revocation}`;

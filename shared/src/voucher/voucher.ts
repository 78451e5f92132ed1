/**
 * Vouchers: a root says of the next one, by its signature and in the audit log, that it is of the same trust domain. A
 * thief needs the keys of both, of the root and of the log, to move who asks for a voucher.
 */
import { hash } from 'node:crypto';
import { base64, concat, hex, lp, utf8 } from '../ground/bytes.ts';
import { ensure, isRefusal } from '../ground/errors.ts';
import { isJsonObject, type Json, parseJson } from '../ground/json.ts';
import { algorithmOf } from '../keys/key.ts';
import type { NoteKey } from '../tlog/note.ts';
import { readProof, verifyProof } from '../tlog/proof-text.ts';
import { IDENTIFIER, isSignedBy } from '../x509/algorithm.ts';
import { parseCertificate, publicKeyOf } from '../x509/certificate.ts';

/** What the audit log keeps with the entry that puts a root into the bundle. */
export interface Voucher {
  /** SHA-256 of the root that vouches (DER), hexadecimal. */
  readonly by: string;
  /** The root that it vouches for: DER, base64. */
  readonly certificate: string;
  /** Over `voucherStatement`, base64. */
  readonly signature: string;
}

export interface Vouching {
  readonly trustDomain: string;
  /** Of the audit log. */
  readonly key: NoteKey;
  /** False for a root that leads nowhere, though it was vouched for; without it there is none. */
  readonly isTrusted?: (root: Uint8Array) => boolean;
  /**
   * Only roots that became active. One that was published and taken back never signed, and an agent that was not there
   * has not heard that it was taken back.
   */
  readonly activeOnly?: boolean;
}

/** Keeps this apart from what the key signs in certificates and lists, which begins with a SEQUENCE. */
const CONTEXT = utf8('chancery-root-voucher-v1');
/** An entry of a log has no more. */
const MAX_ENTRY_BYTES = 0xffff;
const MAX_DEPTH = 8;
/** More than a CA gives. */
const MAX_PROOFS = 64;

/** What a root signs for the next one; both are certificates in DER. */
export const voucherStatement = (trustDomain: string, by: Uint8Array, next: Uint8Array): Uint8Array =>
  concat(
    CONTEXT,
    lp(utf8(trustDomain)),
    lp(hash('sha256', by, 'buffer')),
    lp(hash('sha256', next, 'buffer')),
  );

/**
 * The roots that lead on from those that are known, each vouched for by one before it: DER, without the known ones.
 * `proofs` are texts of C2SP tlog-proof with the entry as extra data. One that does not hold leads nowhere, and spoils
 * no other. The time is not looked at: a root may have ended since it vouched.
 */
export function vouchedRoots(
  known: readonly Uint8Array[],
  proofs: readonly Uint8Array[],
  about: Vouching,
): readonly Uint8Array[] {
  const trusted = new Map(known.map((der) => [rootName(der), der]));
  const waiting = new Set(proofs.slice(0, MAX_PROOFS).flatMap((proof) => voucherIn(proof, about) ?? []));
  const found: Uint8Array[] = [];
  for (let grows = true; grows; ) {
    grows = false;
    for (const voucher of waiting) {
      const by = trusted.get(voucher.by);
      if (by === undefined) continue;
      waiting.delete(voucher);
      const next = Buffer.from(voucher.certificate, 'base64');
      if (trusted.has(rootName(next)) || !isSigned(voucher, by, next, about)) continue;
      if (about.activeOnly === true && !isActive(voucher, next)) continue;
      if (about.isTrusted?.(next) === false) continue;
      trusted.set(rootName(next), next);
      found.push(next);
      grows = true;
    }
  }
  return found;
}

/** By which a root is known to those that trust it: SHA-256 of its certificate, hexadecimal. */
export const rootName = (der: Uint8Array): string => hash('sha256', der, 'hex');

interface Found extends Voucher {
  /** Serial numbers of what the entry makes active, hexadecimal. */
  readonly active: readonly string[];
}

/** Undefined for a proof that does not hold, and for an entry without a voucher. */
function voucherIn(bytes: Uint8Array, { key }: Vouching): Found | undefined {
  try {
    const proof = readProof(bytes);
    ensure(proof.extra.length > 0, 'tlog', 'the proof has no entry');
    verifyProof(proof, proof.extra, key);
    const limits = { code: 'tlog', maxBytes: MAX_ENTRY_BYTES, maxDepth: MAX_DEPTH } as const;
    const entry = parseJson(proof.extra, limits);
    if (!isJsonObject(entry) || entry['type'] !== 'authority.moved') return undefined;
    const voucher = read(entry['voucher']);
    return voucher && { ...voucher, active: madeActive(entry['moves']) };
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

function read(voucher: Json | undefined): Voucher | undefined {
  if (voucher === undefined || !isJsonObject(voucher)) return undefined;
  const { by, certificate, signature } = voucher as { readonly [name: string]: Json | undefined };
  const isText = typeof by === 'string' && typeof certificate === 'string' && typeof signature === 'string';
  return isText ? { by, certificate, signature } : undefined;
}

function madeActive(moves: Json | undefined): readonly string[] {
  if (!Array.isArray(moves)) return [];
  return (moves as readonly Json[]).flatMap((move) => {
    if (!isJsonObject(move) || move['to'] !== 'active') return [];
    return typeof move['serial'] === 'string' ? [move['serial']] : [];
  });
}

/** Whether this entry makes it the root that signs. */
const isActive = ({ active }: Found, next: Uint8Array): boolean =>
  active.includes(hex(parseCertificate(next).serial));

function isSigned({ signature }: Voucher, by: Uint8Array, next: Uint8Array, about: Vouching): boolean {
  try {
    parseCertificate(next);
    const { spki } = parseCertificate(by);
    const algorithm = algorithmOf(spki);
    if (algorithm === undefined) return false;
    const signed = {
      algorithm: IDENTIFIER[algorithm],
      data: voucherStatement(about.trustDomain, by, next),
      signature: Buffer.from(signature, 'base64'),
    };
    return isSignedBy(signed, publicKeyOf(parseCertificate(by)));
  } catch (error) {
    if (isRefusal(error)) return false;
    throw error;
  }
}

/** As the audit log keeps it. `signature` is over `voucherStatement`. */
export const voucherOf = (by: Uint8Array, next: Uint8Array, signature: Uint8Array): Voucher => ({
  by: rootName(by),
  certificate: base64(next),
  signature: base64(signature),
});

/** Which authorities have a CRL, and what its number is: what the records of the store say. Pure. */
import { hash } from 'node:crypto';
import { equal } from '@chancery/shared/ground/bytes.ts';
import { addSeconds, unixSeconds } from '@chancery/shared/ground/clock.ts';
import type { KeyPlace } from '@chancery/shared/keys/home.ts';
import { type Certificate, parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { crlEntryEnd, writeCrlEntry } from '@chancery/shared/x509/compose/crl.ts';
import { BACKDATE_SECONDS } from '../authority/profile.ts';
import { isInBundle, isStandby, keepsKey } from '../store/authority-states.ts';
import type { AuthorityKind, AuthorityRecord, StoredAuthority } from '../store/store.ts';

/** An authority that signs a CRL. */
export interface CrlIssuer {
  readonly serial: string;
  readonly kind: AuthorityKind;
  readonly certificate: Certificate;
  readonly key: KeyPlace;
}

/** Entries of one list, joined. */
export interface Entries {
  readonly count: number;
  readonly bytes: Uint8Array;
}

/**
 * The authorities that peers trust and whose certificates may be unexpired. One whose key is not at hand has no list.
 */
export function issuersOf(records: readonly AuthorityRecord[], now: Date): readonly CrlIssuer[] {
  const own = records
    // A root that stands by has signed nothing, and its key is elsewhere.
    .filter((each) => keepsKey(each) && now < each.notAfter && !isStandby(each))
    .map((record) => ({ record, certificate: parseCertificate(record.certificate) }));
  const roots = own.filter(({ record }) => isInBundle(record)).map(({ certificate }) => certificate);
  return own
    .filter(({ certificate }) => roots.some(({ subject }) => equal(subject, certificate.issuer)))
    .filter(({ record }) => record.kind === 'intermediate' || isInBundle(record))
    .map(({ record: { serial, kind, key }, certificate }) => ({ serial, kind, key, certificate }));
}

/**
 * Intermediates of this root that were removed before their end: then no certificate under them counts. One that was
 * removed as ended, by a clock that was ahead, is not among them.
 */
export function revokedIntermediates(
  records: readonly StoredAuthority[],
  root: Certificate,
  now: Date,
): Entries {
  const revoked = records
    .filter((each) => each.kind === 'intermediate' && !keepsKey(each) && now < each.notAfter)
    .filter(({ movedAt, notAfter }) => movedAt < notAfter)
    .map(({ certificate, movedAt, taintedAt }) => ({ movedAt, taintedAt, ...parseCertificate(certificate) }))
    .filter(({ issuer }) => equal(issuer, root.subject));
  const bytes = revoked.map(({ serial, movedAt, taintedAt }) =>
    writeCrlEntry(
      serial,
      crlEntryEnd(
        dateOf(taintedAt ?? movedAt),
        taintedAt === undefined ? 'cessationOfOperation' : 'keyCompromise',
      ),
    ),
  );
  return { count: revoked.length, bytes: Buffer.concat(bytes) };
}

/** The revocationDate of what was revoked then: set back as thisUpdate is, after which a list says nothing. */
export const dateOf = (at: Date): Date => addSeconds(at, -BACKDATE_SECONDS);

/** A name of all these lists together, for agents, which differs when one of them does. */
export function stateOf(lists: readonly { readonly serial: string; readonly number: bigint }[]): Uint8Array {
  const names = lists.map(({ serial, number }) => `${serial} ${number}`);
  return hash('sha256', names.toSorted().join(), 'buffer').subarray(0, STATE_BYTES);
}

const STATE_BYTES = 16;

/** More seconds than there are until the year 36812. */
const SECONDS_BITS = 40n;

/**
 * RFC 5280 section 5.2.3: grows from list to list. The sequence is that of the revocations, which grows with each that
 * is made or lifted; the time tells lists of one sequence apart. So nothing is kept for it, and of two processes that
 * make a list the one that knows more revocations has the greater number. `before` is the number of the list before in
 * this process: the clock may have been set back since, and two lists may be of one second. 12 octets at most.
 */
export function crlNumber(sequence: bigint, thisUpdate: Date, before: bigint | undefined): bigint {
  const number = (sequence << SECONDS_BITS) + unixSeconds(thisUpdate);
  return before === undefined || before < number ? number : before + 1n;
}

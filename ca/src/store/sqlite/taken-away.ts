/** Authorities whose keys a peer proves to be stolen: part of the SQLite store. */
import { hash } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { equal } from '@chancery/shared/ground/bytes.ts';
import type { Revocation } from '@chancery/shared/revocation/revocation.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { certifiedAbove } from '@chancery/shared/x509/verify/certified-above.ts';
import { keyNameOf } from '@chancery/shared/x509/verify/svid.ts';
import { isInBundle, keepsKey, maySign } from '../authority-states.ts';
import type { AuthorityMove, StoredAuthority, StoredJwtKey } from '../store.ts';
import { JwtTable } from './jwt/jwt-table.ts';
import { AuthorityTable, type Numbers } from './tables/authority-table.ts';

/** Why and how it is written. */
export interface Taking {
  readonly at: number;
  readonly numbers: Numbers;
  readonly tell: (event: AuditEvent) => void;
  readonly reason: string;
  readonly by: string;
}

/** Every method blocks, and the caller holds the transaction. */
export class TakenAway {
  readonly #authorities: AuthorityTable;
  readonly #jwtKeys: JwtTable;
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: DatabaseSync) {
    this.#authorities = new AuthorityTable(db);
    this.#jwtKeys = new JwtTable(db);
    this.#sql = statements(db);
  }

  /**
   * As a taint, without what signs instead: the CA makes that next, and issues nothing until it can. Does nothing where
   * there is no such key, and for the root that signs: without one there is no CA (`stolenRoot`).
   */
  take(keySha256: string, taking: Taking): void {
    const records = this.#authorities.all();
    const found = records.find((each) => each.taintedAt === undefined && nameOf(each) === keySha256);
    if (found !== undefined && !(found.kind === 'root' && maySign(found)))
      this.#takeAuthority(records, found, taking);
    this.#takeJwtKey(keySha256, taking);
  }

  /** The serial of the root that signs though its key is revoked; undefined if it is not. */
  stolenRoot(): string | undefined {
    const root = this.#authorities.all().find((each) => each.kind === 'root' && maySign(each));
    return root !== undefined && this.#sql.revoked.get(nameOf(root)) !== undefined ? root.serial : undefined;
  }

  /**
   * The serial of the root, the intermediate or the JWT key in the bundle of this key; undefined if there is none, or
   * if it was taken away.
   */
  standing(keySha256: string): string | undefined {
    const isIt = (each: StoredAuthority) => each.taintedAt === undefined && nameOf(each) === keySha256;
    const found = this.#authorities.all().find((each) => keepsKey(each) && isIt(each));
    return found?.serial ?? this.#jwtKey(keySha256, isInBundle)?.serial;
  }

  /**
   * Writes down that a peer without a certificate has handed this back. It is not in force, and a certified peer or an
   * operator decides: the log's key alone could otherwise take away what does not come back.
   */
  claim({ number, target }: Revocation): void {
    this.#sql.claim.run(number, target.value);
  }

  /** Whether one of this number was claimed. */
  isClaimed(number: number): boolean {
    return this.#sql.isClaimed.get(number) !== undefined;
  }

  /** Forgets that it was claimed: a certified peer has it, too. */
  forgetClaim(number: number): void {
    this.#sql.forgetClaim.run(number);
  }

  /** An operator says that none of them counts. */
  forgetClaims(): void {
    this.#sql.forgetClaims.run();
  }

  /** Serials of authorities and JWT keys that are claimed to be stolen and were not taken away. */
  claimed(): readonly string[] {
    return this.#sql.claims.all().flatMap((row) => this.standing(String(row['value'])) ?? []);
  }

  #takeAuthority(records: readonly StoredAuthority[], found: StoredAuthority, taking: Taking): void {
    const { serial, kind } = found;
    const moves = [found, ...records.filter((each) => isUnder(each, found))].filter(keepsKey).map(toRemoved);
    const { at, numbers, tell, reason, by } = taking;
    const above = certifiedAbove(found.cross?.chain);
    if (this.#authorities.taint({ authority: serial, moves }, at, numbers))
      tell({ type: 'authority.tainted', serial, kind, moves, reason, by, ...(above && { above }) });
  }

  #takeJwtKey(keySha256: string, { at, numbers, tell, reason, by }: Taking): void {
    const found = this.#jwtKey(keySha256, () => true);
    if (found === undefined) return;
    const { serial } = found;
    this.#jwtKeys.takeAway(serial, at, numbers);
    tell({ type: 'jwtKey.tainted', serial, moves: keepsKey(found) ? [toRemoved(found)] : [], reason, by });
  }

  #jwtKey(keySha256: string, fits: (key: StoredJwtKey) => boolean): StoredJwtKey | undefined {
    const isIt = ({ spki, taintedAt }: StoredJwtKey) =>
      taintedAt === undefined && hash('sha256', spki, 'hex') === keySha256;
    return this.#jwtKeys.all().find((each) => isIt(each) && fits(each));
  }
}

function statements(db: DatabaseSync) {
  const authority = "kind = 'authority' AND value = ?";
  return {
    revoked: db.prepare(`SELECT 1 FROM revocations WHERE ${authority} AND lifted_at IS NULL`),
    claim: db.prepare('INSERT INTO claimed_authorities VALUES (?, ?)'),
    isClaimed: db.prepare('SELECT 1 FROM claimed_authorities WHERE n = ?'),
    claims: db.prepare('SELECT value FROM claimed_authorities ORDER BY n'),
    forgetClaim: db.prepare('DELETE FROM claimed_authorities WHERE n = ?'),
    forgetClaims: db.prepare('DELETE FROM claimed_authorities'),
  };
}

const nameOf = ({ certificate }: StoredAuthority): string => keyNameOf(parseCertificate(certificate));

function isUnder({ kind, certificate }: StoredAuthority, root: StoredAuthority): boolean {
  const { subject } = parseCertificate(root.certificate);
  return (
    kind === 'intermediate' && root.kind === 'root' && equal(parseCertificate(certificate).issuer, subject)
  );
}

const toRemoved = ({ serial, state }: Pick<StoredAuthority, 'serial' | 'state'>): AuthorityMove => ({
  serial,
  from: state,
  to: 'removed',
});

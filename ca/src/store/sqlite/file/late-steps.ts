/** The later steps of the schema. */

/** JWT signing keys. The first key is made at the next start. */
const JWT_KEYS = `
  CREATE TABLE jwt_keys (
    n INTEGER PRIMARY KEY,
    serial BLOB NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('prepared', 'published', 'active', 'retiring', 'removed')),
    algorithm TEXT NOT NULL,
    spki BLOB NOT NULL,
    key_home TEXT NOT NULL, key_reference TEXT NOT NULL,
    sequence INTEGER NOT NULL, moved_at INTEGER NOT NULL, tainted_at INTEGER
  ) STRICT;
  `;

/** What a CA above has certified of a root: a JSON array of certificates, base64. */
const CROSS_CHAINS = `
  ALTER TABLE authorities ADD COLUMN cross_chain TEXT;
  ALTER TABLE authorities ADD COLUMN cross_sequence INTEGER NOT NULL DEFAULT 0;
  `;

/** The node of each spool, and the SHA-256 of its newest record, which older ones do not have. */
const SPOOLS_BY_NODE = `
  ALTER TABLE spools ADD COLUMN node TEXT NOT NULL DEFAULT '';
  ALTER TABLE spools ADD COLUMN last BLOB;
  `;

/** Certificates that a revocation takes along, as it was handed back to a restored CA, and that are not on record. */
const HANDED_SERIALS = `
  CREATE TABLE handed_serials (
    revocation INTEGER NOT NULL,
    serial TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (revocation, serial)
  ) STRICT, WITHOUT ROWID;
  `;

/**
 * Authorities that a peer without a certificate says were stolen, by the numbers of their revocations. They stood among
 * the revocations, lifted by a sentence; the newest number of a state goes on in the newest that stays.
 */
const CLAIMED_AUTHORITIES = `
  CREATE TABLE claimed_authorities (n INTEGER PRIMARY KEY, value TEXT NOT NULL) STRICT;
  INSERT INTO claimed_authorities SELECT n, value FROM revocations
    WHERE lifted_by = 'nobody: handed back without a certificate, and not in force';
  UPDATE revocations SET sequence = (SELECT max(sequence) FROM revocations) WHERE n = (SELECT max(n) FROM revocations
    WHERE n NOT IN (SELECT n FROM claimed_authorities)) AND EXISTS (SELECT 1 FROM claimed_authorities);
  DELETE FROM revocations WHERE n IN (SELECT n FROM claimed_authorities);
  `;

/**
 * Digests of the states that were handed back and put in: numbers of lives that this database does not know order
 * nothing. And the certificate by which a gateway has handed back.
 */
const HANDED_STATES = `
  CREATE TABLE handed_states (
    digest TEXT PRIMARY KEY,
    number INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  ALTER TABLE handed_back ADD COLUMN serial TEXT NOT NULL DEFAULT '';
  `;

/** As in MIGRATIONS, after all that are written out there. */
export const LATE_STEPS: readonly string[] = [
  JWT_KEYS,
  CROSS_CHAINS,
  SPOOLS_BY_NODE,
  HANDED_SERIALS,
  CLAIMED_AUTHORITIES,
  HANDED_STATES,
];

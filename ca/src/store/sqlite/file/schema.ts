/** The schema, step by step. */
import { LATE_STEPS } from './late-steps.ts';

/** One step a version. A step is never edited once it has been released; a new one is appended. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE certificates (
    n INTEGER PRIMARY KEY,
    serial BLOB NOT NULL,
    id TEXT NOT NULL,
    platform TEXT NOT NULL,
    node TEXT NOT NULL,
    identity TEXT NOT NULL,
    key_sha256 BLOB NOT NULL,
    issuer BLOB NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX certificates_serial ON certificates (serial);
  CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    event TEXT NOT NULL
  ) STRICT;
  CREATE TABLE authorities (
    serial BLOB PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('root', 'intermediate')),
    certificate BLOB NOT NULL,
    not_after INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE registry (
    version INTEGER PRIMARY KEY,
    resources TEXT NOT NULL,
    applied_at INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE nodes (
    platform TEXT NOT NULL,
    node TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (platform, node)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE tokens (
    platform TEXT NOT NULL,
    id TEXT NOT NULL,
    key_sha256 BLOB NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (platform, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX tokens_until ON tokens (until);
  `,
  `
  CREATE TABLE revocations (
    n INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('serial', 'id', 'pattern', 'node')),
    value TEXT NOT NULL,
    reason TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    until INTEGER,
    lifted_by TEXT,
    lifted_at INTEGER
  ) STRICT;
  ALTER TABLE certificates ADD COLUMN origin BLOB;
  `,
  `
  ALTER TABLE certificates ADD COLUMN succeeds BLOB;
  `,
  // Agents know the numbers of before: of the bundle 1, of the others their counts, of all together the sum.
  `
  CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    sequence INTEGER NOT NULL
  ) STRICT;
  ALTER TABLE authorities ADD COLUMN sequence INTEGER NOT NULL DEFAULT 1;
  ALTER TABLE registry ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE revocations ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
  INSERT INTO state SELECT 1,
    (SELECT count(*) > 0 FROM authorities) + (SELECT coalesce(max(version), 0) FROM registry)
      + (SELECT count(*) + count(lifted_at) FROM revocations);
  UPDATE registry SET sequence = (SELECT sequence FROM state);
  UPDATE revocations SET sequence = (SELECT count(*) + count(lifted_at) FROM revocations);
  `,
  // Before, a root was always in the bundle, the newest intermediate signed, and all keys were on P-256. Agents know
  // the number of the root; an intermediate was never in the bundle.
  `
  ALTER TABLE authorities ADD COLUMN state TEXT NOT NULL DEFAULT 'active'
    CHECK (state IN ('prepared', 'published', 'active', 'retiring', 'removed'));
  ALTER TABLE authorities ADD COLUMN algorithm TEXT NOT NULL DEFAULT 'ecdsa-p256';
  UPDATE authorities SET sequence = 0, state = 'retiring' WHERE kind = 'intermediate';
  UPDATE authorities SET state = 'active' WHERE serial =
    (SELECT serial FROM authorities WHERE kind = 'intermediate' ORDER BY not_after DESC, serial DESC LIMIT 1);
  `,
  // What is unexpired is a small part of the table, which keeps records for 30 days after the end.
  `
  CREATE INDEX certificates_not_after ON certificates (not_after);
  CREATE INDEX certificates_node ON certificates (node);
  CREATE INDEX certificates_origin ON certificates (origin) WHERE origin IS NOT NULL;
  CREATE INDEX certificates_joined ON certificates (not_after) WHERE instr(platform, '+') > 0;
  `,
  // Which bundle came with a certificate of before is not known: a rotation waits for its end.
  `
  ALTER TABLE certificates ADD COLUMN bundle INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE authorities ADD COLUMN moved_at INTEGER NOT NULL DEFAULT 0;
  CREATE INDEX certificates_issuer ON certificates (issuer, not_after);
  `,
  // Events of before become entries of the log at the next start.
  `
  ALTER TABLE audit ADD COLUMN leaf INTEGER NOT NULL DEFAULT 1;
  UPDATE audit SET leaf = 0 WHERE json_extract(event, '$.type') IN ('agent.connected', 'agent.acknowledged');
  CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY,
    root TEXT NOT NULL,
    through INTEGER NOT NULL,
    note TEXT NOT NULL,
    made_at INTEGER NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX checkpoints_through ON checkpoints (through);
  `,
  // Before, each key was a file with the serial of its certificate as its name.
  `
  ALTER TABLE authorities ADD COLUMN key_home TEXT NOT NULL DEFAULT 'file';
  ALTER TABLE authorities ADD COLUMN key_reference TEXT NOT NULL DEFAULT '';
  UPDATE authorities SET key_reference = lower(hex(serial));
  `,
  // A restored CA begins a life. What agents saw of the life before has smaller numbers than `sequence`.
  `
  CREATE TABLE lives (
    n INTEGER PRIMARY KEY,
    began_at INTEGER NOT NULL,
    backup_at INTEGER NOT NULL,
    sequence INTEGER NOT NULL
  ) STRICT;
  `,
  // How far each gateway's records are in the audit table.
  `
  CREATE TABLE spools (
    reporter TEXT NOT NULL,
    spool BLOB NOT NULL,
    through INTEGER NOT NULL,
    heard_at INTEGER NOT NULL,
    PRIMARY KEY (reporter, spool)
  ) STRICT, WITHOUT ROWID;
  `,
  // What was published before is not vouched for.
  `
  ALTER TABLE authorities ADD COLUMN publication INTEGER;
  `,
  // Events of before are indexed by steps while the CA serves. Keys, nodes and successions were read at each start.
  `
  CREATE TABLE audit_words (
    segment INTEGER NOT NULL,
    word INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (segment, word, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE audit_blocks (
    block INTEGER PRIMARY KEY,
    entries INTEGER NOT NULL,
    from_at INTEGER NOT NULL,
    to_at INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE audit_mark (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    through INTEGER NOT NULL,
    entries INTEGER NOT NULL
  ) STRICT;
  INSERT INTO audit_mark VALUES (1, 0, 0);
  CREATE INDEX certificates_key ON certificates (substr(key_sha256, 1, 8));
  CREATE INDEX certificates_derived ON certificates (node, not_after) WHERE origin IS NOT NULL;
  ALTER TABLE certificates ADD COLUMN succeeds_until INTEGER;
  UPDATE certificates SET succeeds_until =
    (SELECT old.not_after FROM certificates old WHERE old.serial = certificates.succeeds) WHERE succeeds IS NOT NULL;
  CREATE INDEX certificates_succession ON certificates (succeeds_until, not_after) WHERE succeeds_until IS NOT NULL;
  `,
  // When an Identity was last used is known beyond its certificates' records from now on.
  `
  CREATE TABLE identity_uses (
    name TEXT PRIMARY KEY,
    at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE sign_offs (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    review_by TEXT,
    reason TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE requests (
    n INTEGER PRIMARY KEY,
    verb TEXT NOT NULL,
    digest TEXT NOT NULL,
    about TEXT NOT NULL,
    person TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    requested_at INTEGER NOT NULL,
    until INTEGER NOT NULL,
    countersigned_by TEXT,
    countersigned_at INTEGER,
    used_at INTEGER
  ) STRICT;
  CREATE INDEX requests_until ON requests (until) WHERE used_at IS NULL;
  `,
  `
  CREATE TABLE audit_pruned (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    entries INTEGER NOT NULL,
    first INTEGER NOT NULL,
    announced INTEGER NOT NULL,
    done INTEGER NOT NULL
  ) STRICT;
  INSERT INTO audit_pruned VALUES (1, 0, 0, 0, 0);
  `,
  // A root of before stands by for no other, and none is known to be stolen. SQLite changes a CHECK by a new table.
  `
  ALTER TABLE authorities ADD COLUMN standby INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE authorities ADD COLUMN tainted_at INTEGER;
  ALTER TABLE revocations RENAME TO revocations_before;
  CREATE TABLE revocations (
    n INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('serial', 'id', 'pattern', 'node', 'authority')),
    value TEXT NOT NULL,
    reason TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    until INTEGER,
    lifted_by TEXT,
    lifted_at INTEGER,
    sequence INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  INSERT INTO revocations SELECT * FROM revocations_before;
  DROP TABLE revocations_before;
  `,
  // A root may be elsewhere: what it is asked for waits here.
  `
  CREATE TABLE authority_request (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    label TEXT NOT NULL,
    root TEXT NOT NULL,
    key_home TEXT NOT NULL,
    key_reference TEXT NOT NULL,
    pem TEXT NOT NULL,
    made_at INTEGER NOT NULL
  ) STRICT;
  `,
  // As JSON; null for root. Of one from before nobody knows whether it is good still, so it does not count.
  'ALTER TABLE requests ADD COLUMN countersigner TEXT;',
  // During a rotation two roots may be elsewhere, where some were made long before they came. The list of revocations
  // that such a root has signed is kept.
  `
  ALTER TABLE authorities ADD COLUMN ordinal INTEGER NOT NULL DEFAULT 0;
  UPDATE authorities SET ordinal = rowid;
  CREATE TABLE authority_requests (
    root TEXT PRIMARY KEY,
    label TEXT NOT NULL,
    key_home TEXT NOT NULL,
    key_reference TEXT NOT NULL,
    pem TEXT NOT NULL,
    made_at INTEGER NOT NULL
  ) STRICT;
  INSERT INTO authority_requests SELECT root, label, key_home, key_reference, pem, made_at FROM authority_request;
  DROP TABLE authority_request;
  CREATE TABLE root_crls (
    root TEXT PRIMARY KEY,
    number TEXT NOT NULL,
    der BLOB NOT NULL
  ) STRICT;
  `,
  // What a restored CA has heard of the life before. A CA that was restored by an older release holds nothing back.
  `
  CREATE TABLE recovery (
    life INTEGER PRIMARY KEY,
    merged INTEGER NOT NULL, entries INTEGER NOT NULL,
    lost INTEGER NOT NULL, tainted INTEGER NOT NULL,
    holds INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE handed_back (
    life INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (life, name)
  ) STRICT, WITHOUT ROWID;
  `,
  // The rule of a reported call is a word of the index: where calls were reported before, it is made anew by steps.
  `
  UPDATE audit_mark SET
    through = (SELECT max(coalesce(min(block), 0) * 256 - 1, 0) FROM audit_blocks),
    entries = coalesce((SELECT entries FROM audit_blocks ORDER BY block LIMIT 1), 0)
    WHERE EXISTS (SELECT 1 FROM spools);
  DELETE FROM audit_words WHERE EXISTS (SELECT 1 FROM spools);
  DELETE FROM audit_blocks WHERE EXISTS (SELECT 1 FROM spools);
  `,
  // The tree of the entries that the log was pruned of: the files of the log are made anew with it.
  'ALTER TABLE audit_pruned ADD COLUMN tail TEXT;',
  ...LATE_STEPS,
];

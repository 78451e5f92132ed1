/** A step of the schema: JWT signing keys. The first key is made at the next start. */
export const JWT_KEYS = `
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

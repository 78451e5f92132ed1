/** Every statement of the store, prepared once. */
import type { DatabaseSync } from 'node:sqlite';
import { SUCCESSIONS } from './rows.ts';

export function statements(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    certificate: sql('INSERT INTO certificates VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'),
    audit: sql('INSERT INTO audit VALUES (NULL, ?, ?)'),
    events: sql('SELECT * FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?'),
    newestEvent: sql('SELECT sequence, at FROM audit ORDER BY sequence DESC LIMIT 1'),
    bySerial: sql('SELECT * FROM certificates WHERE serial = ?'),
    between: sql('SELECT * FROM certificates WHERE serial BETWEEN ? AND ? ORDER BY serial LIMIT 1000'),
    newest: sql('SELECT * FROM certificates ORDER BY n DESC LIMIT ?'),
    newestOf: sql('SELECT * FROM certificates WHERE id = ? ORDER BY n DESC LIMIT ?'),
    unexpired: sql('SELECT * FROM certificates WHERE not_after > ? ORDER BY n'),
    successions: sql(SUCCESSIONS),
    prune: sql('DELETE FROM certificates WHERE not_after < ?'),
    authorities: sql('SELECT * FROM authorities ORDER BY not_after'),
    authority: sql('INSERT INTO authorities VALUES (?, ?, ?, ?)'),
    registry: sql('SELECT * FROM registry ORDER BY version DESC LIMIT 1'),
    saveRegistry: sql('INSERT INTO registry VALUES (?, ?, ?)'),
    token: sql('SELECT key_sha256 FROM tokens WHERE platform = ? AND id = ?'),
    saveToken: sql('INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?)'),
    pruneTokens: sql('DELETE FROM tokens WHERE until < ?'),
    node: sql('SELECT state FROM nodes WHERE platform = ? AND node = ?'),
    saveNode: sql('INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)'),
  };
}

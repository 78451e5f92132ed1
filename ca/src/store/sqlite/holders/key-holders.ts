/**
 * Which node holds which key, for as long as its certificate is valid: asked of the database, so a start reads nothing.
 * The index has the first bytes of each key.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Node } from '@chancery/shared/evidence/node.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';

/** The SHA-256 of a key, who asks for it, and the time now in milliseconds. */
interface Asked extends Node {
  readonly key: Uint8Array;
  readonly now: number;
}

/** Prepares its statement once, on a connection that the caller owns. */
export class KeyHolders {
  readonly #holder: StatementSync;

  constructor(db: DatabaseSync) {
    // Who held it first keeps it: a record of another node, from before this was refused, must not lock the owner out.
    this.#holder = db.prepare(`SELECT platform, node FROM certificates
      WHERE substr(key_sha256, 1, 8) = substr(?1, 1, 8) AND key_sha256 = ?1 AND not_after > ?2 ORDER BY n LIMIT 1`);
  }

  /** Throws csr_key if another node has an unexpired certificate of the key. Blocks. */
  ensureFree({ key, platform, node, now }: Asked): void {
    const holder = this.#holder.get(key, now);
    const isOwn = holder?.['platform'] === platform && holder['node'] === node;
    ensure(holder === undefined || isOwn, 'csr_key', 'the key belongs to another node');
  }
}

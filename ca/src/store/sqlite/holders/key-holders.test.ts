import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { refusal } from '../../../../../test/kit/refusal.ts';
import { KeyHolders } from './key-holders.ts';

const NOON = Date.parse('2026-11-20T12:00:00Z');
const later = (seconds: number): number => NOON + seconds * 1000;
const one = { platform: 'tpm', node: 'one' };
const two = { ...one, node: 'two' };
const elsewhere = refusal('csr_key', /^the key belongs to another node$/);
const KEY = Buffer.alloc(32, 1);

interface Held {
  readonly platform: string;
  readonly node: string;
  readonly notAfter: number;
}

function holdersOf(...held: readonly Held[]): KeyHolders {
  const db = new DatabaseSync(':memory:');
  db.exec('CREATE TABLE certificates (n INTEGER PRIMARY KEY, key_sha256, platform, node, not_after)');
  const insert = db.prepare('INSERT INTO certificates VALUES (NULL, ?, ?, ?, ?)');
  for (const { platform, node, notAfter } of held) insert.run(KEY, platform, node, notAfter);
  return new KeyHolders(db);
}

test.each([
  ['node one itself', one, {}, false],
  ['another node', two, {}, true],
  ['the same name on another platform', { ...one, platform: 'unix' }, {}, true],
  ['another node after the shorter certificate', two, { now: later(45) }, true],
  ['another node after the end', two, { now: later(60) }, false],
  ['another node with another key', two, { key: Buffer.alloc(32, 2) }, false],
  [
    'another node with a key that begins alike',
    two,
    { key: Buffer.concat([KEY.subarray(1), Buffer.of(2)]) },
    false,
  ],
])(
  'a key that node one holds until noon and a minute is refused to %s: %o %o',
  (_, node, changes, refused) => {
    const holders = holdersOf({ ...one, notAfter: later(60) }, { ...one, notAfter: later(30) });
    const take = () => holders.ensureFree({ key: KEY, now: NOON, ...node, ...changes });
    if (refused) expect(take).toThrow(elsewhere);
    else expect(take).not.toThrow();
  },
);

test('a later record of another node does not lock the first one out', () => {
  const holders = holdersOf({ ...one, notAfter: later(60) }, { ...two, notAfter: later(90) });
  expect(() => holders.ensureFree({ key: KEY, now: NOON, ...one })).not.toThrow();
});

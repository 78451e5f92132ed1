/**
 * I75: so many unexpired certificates that an answer to an operator, which looks at all of them, would keep the database
 * and the CA from everything else.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { OWN_NODE } from '@chancery/ca/agents/holders.ts';
import { openSqliteThread } from '@chancery/ca/store/sqlite/sqlite.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { makeRpc, type Rpc } from '../../kit/ca/rpc.ts';
import { after, NOW } from '../../kit/certificates.ts';
import { ManualClock } from '../../kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../kit/processes.ts';
import { event, issuance } from '../../kit/store/records.ts';

const MANY = 12_000;
const MAX_ROWS = 1000;
const root = { address: 'pid 1 uid 0', local: { uid: 0, ensureStillThere: () => {} } };
const folder = makeFolder();
afterAll(() => removeFolder(folder));

let rpc: Rpc;
beforeAll(async () => {
  const path = join(folder, 'ca.db');
  await (await openSqliteThread(path, new ManualClock(NOW))).close();
  fill(path);
  const store = await openSqliteThread(path, new ManualClock(NOW));
  rpc = await makeRpc([{ type: 'tpm', attest: () => Promise.reject(new Error('nobody joins here')) }], store);
});
afterAll(() => rpc.store.close());

/** Certificates of one node each, valid for an hour and more. */
function fill(path: string): void {
  const db = new DatabaseSync(path);
  const insert = db.prepare(`INSERT INTO certificates
    (serial, id, platform, node, identity, key_sha256, issuer, not_before, not_after, recorded_at)
    VALUES (?, ?, 'tpm', ?, 'web', ?, x'40bb', 0, ?, 0)`);
  db.exec('BEGIN');
  for (let n = 0; n < MANY; n += 1) {
    const bytes = createHash('sha256').update(String(n)).digest();
    const [serial, id] = [bytes.subarray(0, 16), `spiffe://prod.example/host/${n}`];
    insert.run(serial, id, `ek-${n}`, bytes, after(3600 + n).getTime());
  }
  db.exec('COMMIT');
  db.close();
}

/** The most rows in one answer of the database's thread. */
let most = 0;
const rowsIn = (value: unknown): number => {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return 0;
  const inside = Object.values(value).map(rowsIn);
  return Math.max(Array.isArray(value) ? value.length : 0, ...inside);
};
beforeEach(() => {
  most = 0;
  const emit = Worker.prototype.emit;
  vi.spyOn(Worker.prototype, 'emit').mockImplementation(function (this: Worker, name, ...args: unknown[]) {
    if (name === 'message') most = Math.max(most, rowsIn(args));
    return emit.call(this, name, ...args);
  });
});
afterEach(() => vi.restoreAllMocks());

const files = [
  {
    name: 'w.yaml',
    text: JSON.stringify({ kind: 'Identity', name: 'w', platform: 'tpm', id: 'spiffe://prod.example/w' }),
  },
];
const order = { reason: 'keyCompromise', seconds: 0, force: false, dryRun: false };

const verbs: Readonly<Record<string, () => Promise<unknown>>> = {
  agents: () => rpc.operator.agents(root)(undefined),
  apply: () => rpc.operator.apply(root)({ files, how: { prune: true }, dryRun: true } as never),
  'revoke of a SPIFFE ID': () =>
    rpc.operator.revoke(root)({ ...order, kind: 'id', value: 'spiffe://prod.example/host/7' }),
  'revoke of a node': () => rpc.operator.revoke(root)({ ...order, kind: 'node', value: 'tpm/ek-8' }),
  'revoke of a pattern': () =>
    rpc.operator.revoke(root)({
      ...order,
      kind: 'pattern',
      value: 'spiffe://prod.example/host/**',
      dryRun: true,
    }),
  'issued of a SPIFFE ID': () =>
    rpc.operator.issued(root)({ id: parseSpiffeId('spiffe://prod.example/host/0'), limit: 9 }),
};
const SAYS: Readonly<Record<string, object>> = {
  agents: { awayCount: MANY, atLeast: false },
  apply: { warnings: [] },
  'revoke of a SPIFFE ID': { certificates: 1, unacknowledged: { away: MANY - 1, atLeast: false } },
  // The holder of that SPIFFE ID is not counted either.
  'revoke of a node': { certificates: 1, unacknowledged: { away: MANY - 2, atLeast: false } },
  'revoke of a pattern': { certificates: MANY, more: false },
  'issued of a SPIFFE ID': [{ node: 'ek-0' }],
};

test.each(Object.keys(verbs))('I75 %s reads pages, and a certificate is recorded meanwhile', async (verb) => {
  const done: string[] = [];
  const asked = verbs[verb]?.().finally(() => done.push(verb));
  const serial = Buffer.from(verb).toString('hex').slice(0, 38);
  const keySha256 = createHash('sha256').update(verb).digest();
  const recorded = rpc.store
    .record({ ...issuance, ...OWN_NODE, serial, keySha256 }, event)
    .then(() => done.push('record'));
  const [answer] = await Promise.all([asked, recorded]);
  expect(answer).toMatchObject(SAYS[verb] ?? {});
  expect(done).toEqual(['record', verb]);
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(MAX_ROWS);
});

/** I59, I62, I85: a database in other hands than the CA's, and one whose disk hangs. */
import { copyFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readCaConfig } from '@chancery/ca/config.ts';
import { startCa } from '@chancery/ca/serve.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { expect, test } from 'vitest';
import { startTestCa } from '../../kit/ca/ca.ts';
import { removeFolder } from '../../kit/processes.ts';
import { refusal } from '../../kit/refusal.ts';

const unix = { attestors: { unix: {} } };
const readiness = async (port: number) => {
  const response = await fetch(`http://127.0.0.1:${port}/readyz`);
  return { status: response.status, says: await response.text() };
};

test('I59 /readyz says that the database was replaced', async () => {
  const ca = await startTestCa(unix);
  const { httpPort } = ca.running;
  expect(await readiness(httpPort)).toEqual({ status: 200, says: 'ready\n' });
  const database = join(ca.dir, 'data', 'ca.db');
  copyFileSync(database, `${database}.copy`);
  renameSync(`${database}.copy`, database);
  expect(await readiness(httpPort)).toEqual({
    status: 503,
    says: expect.stringMatching(/ca\.db was replaced while the CA was running: nothing is signed any more/),
  });
  await ca.close();
});

test.each([
  [9, 200, 'ready\n'],
  [11, 503, expect.stringMatching(/the database has not answered for 11 s: its disk is slow or stuck/)],
])('I85 /readyz of a CA whose disk has hung for %i s is %i', async (seconds, status, says) => {
  const ca = await startTestCa(unix);
  ca.store.waitedSeconds = () => seconds;
  expect(await readiness(ca.running.httpPort)).toEqual({ status, says });
  await ca.close();
});

test('I62 a CA whose revocation was lost with the WAL does not start', async () => {
  const ca = await startTestCa(unix);
  const database = join(ca.dir, 'data', 'ca.db');
  await ca.revoke('id', 'spiffe://test.example/stolen');
  // What a kill leaves, less the WAL.
  copyFileSync(database, `${database}.left`);
  await ca.running.close();
  copyFileSync(`${database}.left`, database);
  rmSync(`${database}-wal`, { force: true });
  const deps = { clock: ca.clock, log: silentLog, random: () => new Uint8Array(32), ownUid: 0, version: '' };
  const settings = readCaConfig(join(ca.dir, 'ca.yaml'));
  await expect(startCa(settings, deps)).rejects.toThrow(
    refusal('store', /the database is older than the CA that last ran/),
  );
  removeFolder(ca.dir);
});

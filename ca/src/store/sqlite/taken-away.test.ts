/** What goes with a key that is handed back as stolen, on a database that is open for this alone. */
import { hash } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { AuditEvent } from '@chancery/shared/audit/event.ts';
import { certifiedAbove } from '@chancery/shared/x509/verify/certified-above.ts';
import { keyNameOf } from '@chancery/shared/x509/verify/svid.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { corporate, crossOf } from '../../../../test/kit/ca/above.ts';
import { after, makeAuthority, NOW } from '../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../../test/kit/processes.ts';
import { authority, event } from '../../../../test/kit/store/records.ts';
import { openSqlite } from './sqlite.ts';
import { TakenAway } from './taken-away.ts';

const [root, standby, jwt] = [makeAuthority('root'), makeAuthority('standby'), makeAuthority('jwt')];
const chain = [crossOf(standby.certificate).der, corporate.certificate.der];

let folder: string;
let db: DatabaseSync;
beforeEach(async () => {
  folder = makeFolder();
  const path = join(folder, 'ca.db');
  const store = await openSqlite(path, new ManualClock(NOW));
  const record = (serial: string, { certificate: { der } }: typeof root) => ({
    ...authority,
    serial,
    certificate: der,
    notAfter: after(3600),
    key: { home: 'memory', reference: serial },
  });
  await store.saveAuthority({ ...record('40aa', root), state: 'active' }, event);
  await store.saveAuthority({ ...record('40bb', standby), standby: true, state: 'prepared' }, event);
  await store.moveAuthorities([{ serial: '40bb', from: 'prepared', to: 'published' }], event);
  await store.saveCross({ root: '40bb', chain, after: 0n }, event);
  const key = { kind: 'jwt', algorithm: 'ecdsa-p256', key: { home: 'memory', reference: '40dd' } } as const;
  await store.saveJwtKey({ ...key, serial: '40dd', state: 'active', spki: jwt.certificate.spki }, event);
  await store.close();
  db = new DatabaseSync(path);
});
afterEach(() => {
  db.close();
  removeFolder(folder);
});

function take(keySha256: string): readonly AuditEvent[] {
  const told: AuditEvent[] = [];
  const numbers = { current: () => 100n, next: () => 101n };
  const tell = (each: AuditEvent): void => void told.push(each);
  new TakenAway(db).take(keySha256, {
    at: NOW.getTime(),
    numbers,
    tell,
    reason: 'handed back',
    by: 'a peer',
  });
  return told;
}

test('the entry of a root that a CA above has certified says what that CA must revoke', () => {
  const above = certifiedAbove(chain);
  expect(above?.issuer).toContain('Corporate intermediate');
  expect(take(keyNameOf(standby.certificate))).toMatchObject([
    { type: 'authority.tainted', serial: '40bb', above },
  ]);
});

test('I331 a JWT key in the bundle stands until it is taken away, as an authority does', () => {
  const name = hash('sha256', jwt.certificate.spki, 'hex');
  const standing = () => new TakenAway(db).standing(name);
  expect(standing()).toBe('40dd');
  expect(take(name)).toMatchObject([{ type: 'jwtKey.tainted', serial: '40dd' }]);
  expect(standing()).toBeUndefined();
});

import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { after, NOW } from '../../../../../test/kit/certificates.ts';
import { ManualClock } from '../../../../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../../../../test/kit/processes.ts';
import { refusal } from '../../../../../test/kit/refusal.ts';
import { authority, draft } from '../../../../../test/kit/store/records.ts';
import type { Store } from '../../store.ts';
import { openSqlite } from '../sqlite.ts';
import { beginLife } from './second-life.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));
const id = parseSpiffeId('spiffe://prod.example/web');
const event = { type: 'agent.acknowledged', id, sequence: 1 } as const;

let database: string;
let generation: string;
beforeEach(() => {
  const dir = mkdtempSync(join(folder, 'g'));
  database = join(dir, 'ca.db');
  generation = join(dir, 'keys', 'generation');
});

const open = (): Promise<Store> => openSqlite(database, new ManualClock(NOW), generation);
const written = (): string => readFileSync(generation, 'latin1');

async function revoke(store: Store): Promise<void> {
  const draft = {
    target: { kind: 'id', value: id },
    reason: 'unspecified',
    by: 'uid 0',
    until: undefined,
  } as const;
  await store.revoke(draft, 9);
}

/** What a killed process leaves: the files of a moment. */
function killedCopy(withWal: boolean): void {
  for (const each of withWal ? ['', '-wal'] : [''])
    copyFileSync(`${database}${each}`, `${database}.left${each}`);
}

function putBack(withWal: boolean): void {
  rmSync(`${database}-wal`, { force: true });
  for (const each of withWal ? ['', '-wal'] : [''])
    copyFileSync(`${database}.left${each}`, `${database}${each}`);
}

describe('the generation is written', () => {
  test('at once for a revocation and what the operator changes, each minute for the rest', async () => {
    const store = await open();
    await store.append(event);
    expect(() => written()).toThrow('ENOENT');
    await revoke(store);
    expect(written()).toBe('2\n');
    await store.saveRegistry({ version: 1, resources: '[]' }, event);
    expect(written()).toBe('3\n');
    await store.append(event);
    expect(written()).toBe('3\n');
    await store.prune(NOW);
    expect(written()).toBe('4\n');
    await store.append(event);
    await store.close();
    expect(written()).toBe('5\n');
  });

  test('at once for each change of what is trusted, and of what the CA signs with', async () => {
    const store = await open();
    const newest = async (): Promise<string> => `${(await store.events(0, 99)).length}\n`;
    const next = { ...authority, serial: '40dd', state: 'prepared', notAfter: after(7200) } as const;
    const intermediate = { ...next, serial: '40cc', kind: 'intermediate' } as const;
    const asked = { label: '40ee', root: authority.serial, key: authority.key, pem: '', madeAt: NOW };
    const jwtKey = { ...authority, kind: 'jwt', spki: Buffer.from('spki') } as const;
    const move = (serial: string, from: 'prepared' | 'published', to: 'published' | 'active') => ({
      serial,
      from,
      to,
    });
    const stolen = (serial: string) => ({ authority: serial, moves: [], draft });
    const changes: readonly (readonly [string, () => Promise<unknown>])[] = [
      ['an authority', () => store.saveAuthority(authority, event)],
      ['the next one', () => store.saveAuthority(next, event)],
      ['a move', () => store.moveAuthorities([move('40dd', 'prepared', 'published')], event)],
      [
        'a chain of a CA above',
        () => store.saveCross({ root: '40dd', chain: [Buffer.of(1)], after: 0n }, event),
      ],
      ['an answer', () => store.answerAuthorityRequest(asked.label, intermediate, event)],
      ['the list of a root', () => store.saveRootCrl({ root: '40dd', number: 1n, der: Buffer.of(1) }, event)],
      ['a JWT key', () => store.saveJwtKey(jwtKey, event)],
      ['the next JWT key', () => store.saveJwtKey({ ...jwtKey, serial: '40ff', state: 'prepared' }, event)],
      ['a move of it', () => store.moveJwtKeys([move('40ff', 'prepared', 'published')], event)],
      ['a taint', () => store.taintAuthority(stolen('40cc'), event)],
      ['a taint of a JWT key', () => store.taintJwtKey(stolen('40ff'), event)],
      ['a lift', async () => store.lift((await store.revocations()).list.at(-1)?.number ?? 0, 'uid 0')],
    ];
    await store.askForAuthority(asked, event);
    for (const [what, change] of changes) {
      const before = await newest();
      expect([what, await change()]).not.toEqual([what, undefined]);
      expect([what, written()]).toEqual([what, await newest()]);
      expect([what, written()]).not.toEqual([what, before]);
    }
    await store.close();
  });

  test('at once for what is handed back after a restore', async () => {
    await (await open()).close();
    const life = {
      now: NOW,
      backupAt: NOW,
      lost: [],
      reason: undefined,
      by: 'uid 0',
      entries: 0,
      holds: true,
    };
    beginLife(database, life);
    rmSync(generation, { force: true });
    const store = await open();
    const { target, reason } = draft;
    const list = [{ number: 1, target, serials: [], reason, until: undefined }];
    const by = { by: 'a gateway', isCertified: true, gateway: undefined, awaited: ['another'] };
    const merged = await store.handBack({
      number: 1,
      digest: 'aa',
      list,
      entries: 0,
      ...by,
      until: after(60),
    });
    expect(merged?.made).toHaveLength(1);
    expect(written()).toBe(`${(await store.events(0, 99)).length}\n`);
    await store.close();
  });

  test('at the start, where it was behind', async () => {
    const store = await open();
    await store.append(event);
    await store.close();
    writeFileSync(generation, '0\n');
    await (await open()).close();
    expect(written()).toBe('1\n');
  });

  test('later where it cannot be written now: what was committed holds', async () => {
    const store = await open();
    await revoke(store);
    rmSync(join(generation, '..'), { recursive: true });
    writeFileSync(join(generation, '..'), 'a file');
    await revoke(store);
    await expect(store.prune(NOW)).rejects.toThrow(refusal('file', /generation could not be written/));
    await store.close();
    rmSync(join(generation, '..'));
    const again = await open();
    expect((await again.revocations()).list).toHaveLength(2);
    await again.close();
  });
});

describe('I62 a database that is older than the CA that last ran is refused', () => {
  const older = refusal(
    'store',
    /the database is older than the CA that last ran here: its newest record is \d+, \S+generation says 3: .* or make the folder from a backup with chancery-ca restore\. .* remove \S+generation;/,
  );

  test('an older copy that was put back', async () => {
    const store = await open();
    await store.append(event);
    killedCopy(true);
    await store.append(event);
    await revoke(store);
    await store.close();
    putBack(true);
    await expect(open()).rejects.toThrow(older);
  });

  test('a WAL that was lost after a kill', async () => {
    const store = await open();
    await store.append(event);
    await store.append(event);
    await revoke(store);
    killedCopy(false);
    await store.close();
    writeFileSync(generation, '3\n');
    putBack(false);
    await expect(open()).rejects.toThrow(older);
  });

  test('the operator goes on without what is missing by removing the file', async () => {
    const store = await open();
    await store.append(event);
    killedCopy(true);
    await revoke(store);
    await store.close();
    putBack(true);
    rmSync(generation);
    const again = await open();
    expect(await again.events(0, 9)).toHaveLength(1);
    await again.close();
    expect(written()).toBe('1\n');
  });

  test('and lets the database go, so that the next start finds it free', async () => {
    const store = await open();
    await store.append(event);
    await store.close();
    writeFileSync(generation, '99\n');
    await expect(open()).rejects.toThrow(refusal('store', /older/));
    writeFileSync(generation, '1\n');
    await (await open()).close();
  });
});

test('a database that is ahead, as after a kill between commit and file, opens', async () => {
  const store = await open();
  await store.append(event);
  await store.append(event);
  await store.close();
  writeFileSync(generation, '1\n');
  await (await open()).close();
});

test.each(['', 'x\n', '-1\n', '1', '1\n2\n', `${'9'.repeat(16)}\n`])(
  'a damaged file is refused: %j',
  async (text) => {
    const store = await open();
    await store.append(event);
    await store.close();
    writeFileSync(generation, text);
    await expect(open()).rejects.toThrow(
      refusal('store', /generation is damaged: a number is expected; restore it or remove it/),
    );
  },
);

test('a database in memory has none', async () => {
  const store = await openSqlite(':memory:', new ManualClock(NOW));
  await revoke(store);
  await store.prune(NOW);
  await store.close();
});

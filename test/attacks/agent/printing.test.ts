/** Names that would forge a line, colour a terminal, reorder text or hide in it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { openCallRecords } from '@chancery/agent/outputs/call-records.ts';
import { printTable } from '@chancery/ca/cli/flags.ts';
import { openSqlite } from '@chancery/ca/store/sqlite/sqlite.ts';
import type { Io } from '@chancery/shared/cli/program.ts';
import { Problems } from '@chancery/shared/config/yaml.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { afterAll, describe, expect, test } from 'vitest';
import { CA_MAIN, runProgram } from '../../kit/processes.ts';

const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
const NAME = 'a\x1b[2J\r\x9b31m\x7f\u202e\u2067\u200b\ufeff\u2028\u{e0041}b';

const dir = mkdtempSync(join(tmpdir(), 'printing-'));
afterAll(() => rmSync(dir, { recursive: true }));

/** Lines in which only the line feeds between them are control characters. */
function isPlain(text: string): void {
  expect(text).toMatch(/\\u202e/);
  for (const line of text.split('\n')) expect(line).not.toMatch(HIDDEN);
}

describe('I60 a name with control characters of every kind is escaped', () => {
  test('in a log line', () => {
    const log = import.meta.resolve('@chancery/shared/ground/log.ts');
    const fields = `{ tool: ${JSON.stringify(NAME)}, err: new TypeError(${JSON.stringify(NAME)}) }`;
    const program = `import { jsonLog } from '${log}'; jsonLog('info', 'x').info(${fields}, 'no');`;
    const { stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
      encoding: 'utf8',
    });
    isPlain(stderr);
    expect(JSON.parse(stderr)).toMatchObject({ tool: NAME, err: { message: NAME } });
  });

  test('in a record of a call', () => {
    const path = join(dir, 'calls.jsonl');
    const records = openCallRecords(path);
    records.record({ tool: NAME });
    records.close();
    isPlain(readFileSync(path, 'utf8'));
  });

  test('in the audit log', async () => {
    const path = join(dir, 'ca.db');
    const store = await openSqlite(path, systemClock);
    await store.append({ type: 'request.refused', rpc: 'Attest', code: 'svid', detail: NAME, peer: NAME });
    await store.close();
    const rows = new DatabaseSync(path, { readOnly: true }).prepare('SELECT * FROM audit').all();
    isPlain(rows.map((row) => String(row['event'])).join('\n'));
  });

  test('in a table, where a line feed cannot begin a row either', () => {
    const said: string[] = [];
    const io: Pick<Io, 'out'> = { out: (text) => said.push(text) };
    printTable(io, ['NAME'], [[`${NAME}\nforged`]]);
    isPlain(said.join(''));
    expect(said.join('').split('\n')).toHaveLength(3);
  });

  test('in an error', () => {
    isPlain(new IdentityError('svid', NAME).message);
  });

  test('in the problems of a file, where a line feed cannot begin a problem either', () => {
    const problems = new Problems();
    problems.add('ca.yaml', 1, `unknown key ${NAME}\nca.yaml:2: forged`);
    expect(() => problems.throwIfAny('config')).toThrow(/^ca\.yaml:1: [^\n]*\\u202e[^\n]*\\u000a[^\n]*$/);
  });

  test('in what a command prints', async () => {
    const { status, stderr } = await runProgram(CA_MAIN, [NAME]);
    expect(status).toBe(2);
    isPlain(stderr);
  });
});

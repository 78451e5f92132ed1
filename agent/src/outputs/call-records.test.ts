import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openCallRecords } from './call-records.ts';

const dir = mkdtempSync(join(tmpdir(), 'records-'));
afterAll(() => rmSync(dir, { recursive: true }));

test('a line an event, appended to what was there, for nobody else to read', () => {
  const path = join(dir, 'calls.jsonl');
  writeFileSync(path, '{"before":true}\n');
  chmodSync(path, 0o644);
  const records = openCallRecords(path);
  records.record({ tool: 'a\nb', policyVersion: 7 });
  records.record({ tool: 'c' });
  records.close();
  expect(readFileSync(path, 'utf8')).toBe(
    '{"before":true}\n{"tool":"a\\nb","policyVersion":7}\n{"tool":"c"}\n',
  );
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('a file that cannot be opened is told at once', () => {
  expect(() => openCallRecords(join(dir, 'none', 'calls.jsonl'))).toThrow(
    expect.objectContaining({
      code: 'file',
      message: expect.stringContaining('cannot be opened for records'),
    }),
  );
});

test('a line that cannot be written is an error: no record, no call', () => {
  // Every write to it fails as on a full disk.
  const records = openCallRecords('/dev/full');
  expect(() => records.record({ tool: 'a' })).toThrow(
    expect.objectContaining({ code: 'file', message: expect.stringContaining('could not be recorded') }),
  );
  records.close();
  // A device stays as open as it was.
  expect(statSync('/dev/full').mode & 0o777).toBe(0o666);
});

import { execFileSync } from 'node:child_process';
import fs, {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { refusal } from '../../../test/kit/refusal.ts';
import { openCallRecords } from './call-records.ts';

const dir = mkdtempSync(join(tmpdir(), 'records-'));
afterAll(() => rmSync(dir, { recursive: true }));

test('each event is one line, appended to the file, which only its owner can read', () => {
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

test('a file that cannot be opened is reported at once', () => {
  expect(() => openCallRecords(join(dir, 'none', 'calls.jsonl'))).toThrow(
    expect.objectContaining({
      code: 'file',
      message: expect.stringMatching(/^records: \S+calls\.jsonl: no such file or folder$/),
    }),
  );
});

test('a line that cannot be written is an error: no record, no call', () => {
  const records = openCallRecords(join(dir, 'closed.jsonl'));
  records.close();
  expect(() => records.record({ tool: 'a' })).toThrow(
    expect.objectContaining({ code: 'file', message: expect.stringContaining('could not be recorded') }),
  );
});

test('M98 what was cut off by a kill ends its line before the next record', () => {
  const path = join(dir, 'cut.jsonl');
  writeFileSync(path, '{"before":true}\n{"cut":');
  const records = openCallRecords(path);
  records.record({ tool: 'a' });
  records.record({ tool: 'b' });
  records.close();
  expect(readFileSync(path, 'utf8')).toBe('{"before":true}\n{"cut":\n{"tool":"a"}\n{"tool":"b"}\n');
});

test('M98 what was cut off by a full disk ends its line before the next record', () => {
  const path = join(dir, 'full.jsonl');
  const records = openCallRecords(path);
  records.record({ tool: 'a' });
  const write = vi.spyOn(fs, 'writeFileSync').mockImplementationOnce(() => {
    fs.appendFileSync(path, '{"tool":');
    throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', errno: -28, syscall: 'write' });
  });
  expect(() => records.record({ tool: 'b' })).toThrow(refusal('file', /no space left/));
  write.mockRestore();
  records.record({ tool: 'c' });
  records.close();
  expect(readFileSync(path, 'utf8')).toBe('{"tool":"a"}\n{"tool":\n{"tool":"c"}\n');
});

test.each([
  ['is a pipe', (path: string) => execFileSync('mkfifo', [path]), /expected, found a pipe$/],
  ['leads to a device', (path: string) => symlinkSync('/dev/full', path), /expected, found a device$/],
  ['is a folder', (path: string) => mkdirSync(path), /expected, found a folder/],
])('I81 a file for records that %s is refused without waiting', (what, make, says) => {
  const path = join(dir, what.replaceAll(' ', '-'));
  make(path);
  expect(() => openCallRecords(path)).toThrow(
    expect.objectContaining({ code: 'file', message: expect.stringMatching(says) }),
  );
});

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { textOf } from './process-io.ts';

const read = (...chunks: readonly (Buffer | string)[]) =>
  textOf(Readable.from(chunks.map((each) => Buffer.from(each as string))), 16);

test('standard input is read to its end, characters across chunks too', async () => {
  expect(await read('a', Buffer.of(0xc3), Buffer.of(0xa9), 'b')).toBe('aéb');
});

test.each<[string, readonly (Buffer | string)[], RegExp]>([
  [
    'has a byte of Latin-1',
    ['ab', Buffer.of(0xe9, 0x20)],
    /^standard input is not UTF-8: see the byte at offset 2;/,
  ],
  [
    'ends within a character',
    ['abc', Buffer.of(0xc3)],
    /^standard input is not UTF-8: see the byte at offset 3;/,
  ],
  [
    'is UTF-16',
    [Buffer.of(0xff, 0xfe, 0x61, 0)],
    /^standard input is not UTF-8 but UTF-16; save it as UTF-8$/,
  ],
  ['is longer than allowed', ['x'.repeat(17)], /^standard input has more than 16 bytes$/],
])('standard input that %s is refused', async (_, chunks, says) => {
  await expect(read(...chunks)).rejects.toThrow(refusal('file', says));
});

test('I289 a process ends though a call of the file system hangs', () => {
  const folder = makeFolder();
  const pipe = join(folder, 'nobody-reads');
  spawnSync('mkfifo', [pipe]);
  const own = JSON.stringify(new URL('process-io.ts', import.meta.url).href);
  const script = `
    import { open } from 'node:fs/promises';
    import { endThough, endWith, processIo } from ${own};
    processIo();
    endThough(() => true);
    open(${JSON.stringify(pipe)}, 'w');
    endWith(0);`;
  const bound = { timeout: 30_000, killSignal: 'SIGKILL' } as const;
  const ran = spawnSync(process.execPath, ['--input-type=module', '--eval', script], bound);
  removeFolder(folder);
  expect([ran.signal, String(ran.stderr)]).toEqual(['SIGTERM', '']);
});

/** What an operator sees where the machine is not as the CA needs it: a sentence that can be followed, and no stack. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { CA_MAIN, runProgram } from '../kit/processes.ts';

const dir = mkdtempSync(join(tmpdir(), 'state-'));
afterAll(() => rmSync(dir, { recursive: true }));
const file = join(dir, 'file');
writeFileSync(file, '');

const config = join(dir, 'ca.yaml');
writeFileSync(
  config,
  'trustDomain: a.example\ndataDir: file\nkeyEncryptionKey: kek\nlisten: 127.0.0.1:0\nattestors:\n  unix: {}\n',
);
const init = (folder: string) => ['init', '--trust-domain', 'a.example', '--dir', folder];
mkdirSync(join(dir, 'folder'));

test.each<[string, readonly string[], number, RegExp]>([
  ['init into a file', init(file), 1, /\/file: a folder is expected, found a file\. Move the file away/],
  ['init below a file', init(join(file, 'x')), 1, /\/file\/x: a part of this path is a file, not a folder$/],
  [
    'serve with a file as dataDir',
    ['serve', '-c', config],
    1,
    /\/file: a folder is expected, found a file\./,
  ],
  [
    'check of a folder',
    ['check', '-c', join(dir, 'folder')],
    2,
    /folder: a file is expected, found a folder/,
  ],
  ['check of a missing file', ['check', '-c', join(dir, 'no')], 2, /no: no such file$/],
])('%s ends with one line', async (_, args, status, says) => {
  const ran = await runProgram(CA_MAIN, args);
  expect(ran.status).toBe(status);
  expect(ran.stderr.trimEnd()).toMatch(says);
  expect(ran.stderr.trimEnd().split('\n')).toHaveLength(1);
});

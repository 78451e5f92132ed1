import fs from 'node:fs';
import { join } from 'node:path';
import { createKek, readKek } from '@chancery/shared/keys/kek.ts';
import { parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { writeVerifierKey } from '@chancery/shared/tlog/note.ts';
import { afterAll, expect, test } from 'vitest';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { openLogKey } from './log-key.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));

test('I297 the key is made once: never a second one for a log that the first has signed', async () => {
  const kek = join(folder, 'kek');
  createKek(kek);
  const path = join(folder, 'keys/log.key');
  const at = { path, keyEncryptionKey: readKek(kek), trustDomain: parseTrustDomain('prod.example') };
  const nothing = { checkpoint: async () => undefined };
  const signed = { checkpoint: async () => ({ size: 7, root: 'ab', through: 9, note: 'x' }) };
  const { verifier } = await openLogKey(at, nothing);
  expect(writeVerifierKey((await openLogKey(at, signed)).verifier)).toBe(writeVerifierKey(verifier));

  fs.rmSync(path);
  await expect(openLogKey(at, signed)).rejects.toThrow(
    refusal('file', /log\.key is missing, and the audit log of 7 entries is signed with it: restore it from/),
  );
  expect(fs.existsSync(path)).toBe(false);
});

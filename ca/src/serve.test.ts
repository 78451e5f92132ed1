import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NOW } from '../../test/kit/certificates.ts';
import { ManualClock } from '../../test/kit/manual-clock.ts';
import { makeFolder, removeFolder } from '../../test/kit/processes.ts';
import { refusal } from '../../test/kit/refusal.ts';
import { readCaConfig } from './config.ts';
import { startCa } from './serve.ts';

let folder: string;
beforeEach(() => {
  folder = makeFolder();
});
afterEach(() => removeFolder(folder));

test.each(['missing', 'empty'])('a dataDir that is %s is left so: a restore makes it', async (how) => {
  const file = join(folder, 'ca.yaml');
  writeFileSync(
    file,
    'trustDomain: test.example\ndataDir: data\nkeyEncryptionKey: kek\nattestors:\n  unix: {}\n',
  );
  if (how === 'empty') mkdirSync(join(folder, 'data'));
  const before = readdirSync(folder, { recursive: true });
  const deps = {
    clock: new ManualClock(NOW),
    log: silentLog,
    random: () => new Uint8Array(32),
    ownUid: 0,
    version: '',
  };
  await expect(startCa(readCaConfig(file), deps)).rejects.toThrow(
    refusal('store', /^there is no root yet: .* restore dataDir$/),
  );
  expect(readdirSync(folder, { recursive: true })).toEqual(before);
});

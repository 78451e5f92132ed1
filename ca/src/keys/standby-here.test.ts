import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makeRoot } from '../../../test/kit/ca/authority.ts';
import { makeFolder, removeFolder } from '../../../test/kit/processes.ts';
import { refusal } from '../../../test/kit/refusal.ts';
import { ensureStandbyHere } from './standby-here.ts';
import { standbyKeys } from './standby-keys.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));

test('I182 the key of a standby root is missed where its folder is away, unless that root was removed', async () => {
  const [here, away] = [join(folder, 'standby'), join(folder, 'away')];
  const kek = Buffer.alloc(32, 7);
  const keks = { newest: () => kek, all: () => [kek] };
  const standby = standbyKeys({ folder: join(folder, 'keys'), standbyFolder: here, keks });
  const { place } = await standby.create('aa');
  const { root } = await makeRoot();
  const record = { ...root, serial: 'aa', standby: true, state: 'published', key: place } as const;
  const others = { ...root, key: { home: 'file', reference: 'bb' } };
  await ensureStandbyHere([others, record], { standby });
  renameSync(here, away);
  await expect(ensureStandbyHere([others, record], { standby })).rejects.toThrow(
    refusal(
      'file',
      /the key of the standby root aa is not in the folder standby of dataDir: bring its folder back/,
    ),
  );
  await ensureStandbyHere([others, { ...record, state: 'removed' }], { standby });
});

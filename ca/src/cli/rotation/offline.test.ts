/** What `authorities import` refuses before it asks a CA. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Invocation, Io } from '@chancery/shared/cli/program.ts';
import { afterAll, expect, test } from 'vitest';
import { makeFolder, removeFolder } from '../../../../test/kit/processes.ts';
import { refusal } from '../../../../test/kit/refusal.ts';
import { importAuthority } from './offline.ts';

const folder = makeFolder();
afterAll(() => removeFolder(folder));

test('a file of another kind is refused by its name', async () => {
  const file = join(folder, 'ca.yaml');
  writeFileSync(file, 'trustDomain: prod.example\n');
  const imported = importAuthority(file, {} as Invocation, {} as Io);
  await expect(imported).rejects.toThrow(
    refusal('authority_answer', /ca\.yaml is no answer: a file with a PEM/),
  );
});

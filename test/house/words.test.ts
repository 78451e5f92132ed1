/** Names of files say what is in them; these words say nothing. */
import { posix } from 'node:path';
import { expect, test } from 'vitest';
import { paths } from './repository.ts';

const EMPTY_WORDS = /(^|-)(util|utils|helper|helpers|common|misc|base|manager)(-|\.|$)/;

test('no file or folder is named by a word that says nothing', () => {
  const found = paths(/\.(ts|mjs|md|proto)$/).filter((path) =>
    path.split(posix.sep).some((part) => EMPTY_WORDS.test(part)),
  );
  expect(found).toEqual([]);
});

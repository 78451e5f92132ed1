/** Recorded exchanges of every platform that signs tokens: what was believed is, and what was refused is for its reason. */
import { hash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { EvidenceVector, replay } from '../kit/recorded/evidence-vector.ts';

const DIR = join(import.meta.dirname, 'evidence');
const textOf = (file: string): string => readFileSync(join(DIR, file), 'utf8');
const files = readdirSync(DIR).filter((file) => file !== 'manifest.json');

test('the manifest is of these files', () => {
  const { sha256 } = JSON.parse(textOf('manifest.json')) as { sha256: Record<string, string> };
  expect(sha256).toEqual(Object.fromEntries(files.map((file) => [file, hash('sha256', textOf(file))])));
  expect(files.length).toBeGreaterThan(10);
});

test.each(files)('%s', async (file) => {
  const vector = EvidenceVector.parse(JSON.parse(textOf(file)));
  const { proven, code } = vector;
  expect(file.startsWith(proven === undefined ? 'wrong-' : 'good-')).toBe(true);
  if (proven === undefined) await expect(replay(vector)).rejects.toMatchObject({ name: 'IdentityError', code });
  else expect(await replay(vector)).toEqual(proven);
});

/** What is checked in under proto/src/gen is what buf generates from the .proto files beside it. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { paths, root, textOf } from './repository.ts';

const folder = mkdtempSync(join(tmpdir(), 'chancery-generated-'));
const bin = join(root, 'node_modules', '.bin');

beforeAll(() => {
  execFileSync(join(bin, 'buf'), ['generate', '--output', folder], {
    cwd: join(root, 'proto'),
    env: { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}` },
  });
});

afterAll(() => rmSync(folder, { recursive: true }));

const checkedIn = paths(/^proto\/src\/gen\//).map((path) => path.slice('proto/'.length));

test('one generated file stands for each .proto file', () => {
  const wanted = paths(/^proto\/.*\.proto$/).map((path) =>
    path.replace(/^proto\//, 'src/gen/').replace(/\.proto$/, '.ts'),
  );
  expect(checkedIn).toEqual(wanted);
});

test.each(checkedIn)('%s is fresh', (path) => {
  expect(textOf(join('proto', path))).toBe(readFileSync(join(folder, path), 'utf8'));
});

/** A log that we write is judged by golang.org/x/mod/sumdb, the implementation behind Go's checksum database. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { signCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { noteKey, writeVerifierKey } from '@chancery/shared/tlog/note.ts';
import { proveConsistency, proveInclusion } from '@chancery/shared/tlog/prove.ts';
import { tilePath } from '@chancery/shared/tlog/tile.ts';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { buildGo, runProgram } from '../kit/languages/go.ts';
import { makeFolder, removeFolder } from '../kit/processes.ts';
import { rootByDefinition, tileLog } from '../kit/tlog.ts';

const BUILD_MS = 600_000;
const dir = makeFolder();
let missing: string | undefined;
beforeAll(async () => {
  missing = await buildGo('go-tlog', dir, 'judge');
  if (missing !== undefined) console.warn(`the judge in Go is left out: ${missing}`);
}, BUILD_MS);
afterAll(() => removeFolder(dir));
beforeEach(({ skip }) => skip(missing !== undefined, missing));

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const key = noteKey('prod.example/chancery/log', publicKey);

/** Writes the log to a folder of its own, and proofs of it; returns the arguments of the judge. */
async function written(size: number): Promise<[string, string, string]> {
  const entries = Array.from({ length: size }, (_, at) => Buffer.from(`{"entry":${at}}`));
  const { files, root } = tileLog(entries);
  const folder = join(dir, `log-${size}`);
  files.set('checkpoint', Buffer.from(signCheckpoint({ size, root }, key, privateKey)));
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
  const tree = {
    size,
    read: async (name: Parameters<typeof tilePath>[0]) => files.get(tilePath(name)) ?? Buffer.of(),
  };
  const text = (hashes: readonly Uint8Array[]) => hashes.map((hash) => Buffer.from(hash).toString('base64'));
  const [some, parts] = [new Set([0, 1, 255, 256, 300, size - 1]), new Set([1, 2, 255, 256, 257, size - 1])];
  const proofs = {
    Inclusion: await Promise.all(
      [...some]
        .filter((each) => each < size)
        .map(async (Index) => ({ Index, Hashes: text(await proveInclusion(Index, tree)) })),
    ),
    Consistency: await Promise.all(
      [...parts]
        .filter((each) => each > 0 && each < size)
        .map(async (Size) => ({
          Size,
          Root: text([rootByDefinition(entries.slice(0, Size))])[0],
          Hashes: text(await proveConsistency(Size, tree)),
        })),
    ),
  };
  const file = join(dir, `proofs-${size}.json`);
  writeFileSync(file, JSON.stringify(proofs));
  return [folder, writeVerifierKey(key), file];
}

const judge = (args: readonly string[]) => runProgram(join(dir, 'judge'), [...args], { timeout: 60_000 });

test.each([1, 2, 255, 256, 257, 1000, 66_000])(
  'Go verifies checkpoint, tiles, entries and proofs of %i entries',
  async (size) => {
    const { stdout } = await judge(await written(size));
    expect(stdout).toMatch(
      new RegExp(`^prod\\.example/chancery/log ${size} entries, [1-6] and [0-6] proofs\n$`),
    );
  },
);

test.each([['tile/0/000'], ['tile/entries/003.p/232'], ['checkpoint']])(
  'Go refuses a log with another byte in %s',
  async (path) => {
    const args = await written(1000);
    const file = join(args[0], path);
    const bytes = readFileSync(file);
    const at = bytes.length - 10;
    bytes[at] = (bytes[at] ?? 0) === 0x41 ? 0x42 : 0x41;
    writeFileSync(file, bytes);
    await expect(judge(args)).rejects.toThrow();
  },
);

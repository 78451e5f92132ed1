import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const MODULE = new URL('./freed-memory.ts', import.meta.url).href;
/** Small buffers of 160 MB, of which every hundredth stays: the others leave holes. */
const PROGRAM = `
import { giveBackFreedMemory } from ${JSON.stringify(MODULE)};
const rssMb = () => process.memoryUsage.rss() / 1e6;
const stop = new AbortController();
giveBackFreedMemory(stop.signal);
if (process.argv[1] === 'stopped') stop.abort();
const before = rssMb();
let all = Array.from({ length: 5_000 }, () => Buffer.allocUnsafeSlow(32_768).fill(1));
globalThis.some = all.filter((_, n) => n % 100 === 0);
const grown = rssMb() - before;
all = [];
gc();
// Where nothing is given back, there is nothing to wait for.
const end = performance.now() + (process.argv[1] === 'stopped' ? 1_000 : 60_000);
while (rssMb() - before > grown / 4 && performance.now() < end) await new Promise((go) => setTimeout(go, 50));
console.log(JSON.stringify({ grown, left: rssMb() - before }));
`;

async function run(mode: 'going' | 'stopped'): Promise<{ grown: number; left: number }> {
  const args = ['--expose-gc', '--input-type=module', '-e', PROGRAM, mode];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout) as { grown: number; left: number };
}

const HAS_GLIBC = 'glibcVersionRuntime' in (process.report.getReport() as { header: object }).header;
if (!HAS_GLIBC) console.warn('skipped: freed memory is given back only where there is glibc');

test.skipIf(!HAS_GLIBC)('what a full collection frees leaves the process', async () => {
  const { grown, left } = await run('going');
  expect(grown).toBeGreaterThan(100);
  expect(left).toBeLessThan(grown / 4);
});

test.skipIf(!HAS_GLIBC)('once stopped it gives nothing back', async () => {
  const { grown, left } = await run('stopped');
  expect(left).toBeGreaterThan(grown / 4);
});

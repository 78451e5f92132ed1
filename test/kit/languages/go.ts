/** Programs in Go that judge ours. If Go or its modules are missing, a test says so and is skipped. */
import { execFile } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../processes.ts';

export const runProgram = promisify(execFile);

const FETCH_MS = 120_000;

/** Builds `test/interop/<source>` in `dir`; resolves with the reason if that cannot be, else with undefined. */
export async function buildGo(source: string, dir: string, program: string): Promise<string | undefined> {
  cpSync(join(root, 'test/interop', source), dir, { recursive: true });
  try {
    await runProgram('go', ['mod', 'download'], { cwd: dir, timeout: FETCH_MS });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  await runProgram('go', ['build', '-o', program, '.'], { cwd: dir });
  return undefined;
}

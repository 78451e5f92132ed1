/** Programs in Python, with their packages. If one is missing, a test says so and is skipped. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const INSTALL_MS = 400_000;

/** Makes a virtual environment in `dir`; resolves with the reason if that cannot be, else with undefined. */
export async function makePython(dir: string, packages: readonly string[]): Promise<string | undefined> {
  try {
    await run('python3', ['-m', 'venv', dir]);
    const quiet = ['--quiet', '--disable-pip-version-check', '--no-input'];
    await run(pythonIn(dir), ['-m', 'pip', 'install', ...quiet, ...packages], { timeout: INSTALL_MS });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

export const pythonIn = (dir: string): string => join(dir, 'bin', 'python');

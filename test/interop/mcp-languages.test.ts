/**
 * The official clients in Python and Go, unmodified, through connect and gateway to the reference server: what a rule
 * lets works, a denied call is an error with its reason, and the session lives on after it.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { buildGo } from '../kit/languages/go.ts';
import { makePython, pythonIn } from '../kit/languages/python.ts';
import { type Programs, startPrograms } from '../kit/mcp/world/programs.ts';
import { makeFolder, removeFolder, root } from '../kit/processes.ts';

const run = promisify(execFile);
const BUILD_MS = 600_000;
const RUN_MS = 120_000;
const dir = makeFolder();
const built = makeFolder();
let programs: Programs;
beforeAll(async () => {
  programs = await startPrograms(dir);
});
afterAll(async () => {
  await programs?.close();
  removeFolder(dir);
  removeFolder(built);
});

interface Language {
  readonly name: string;
  /** Makes it in this folder; the reason if that cannot be. */
  make(folder: string): Promise<string | undefined>;
  readonly command: (folder: string) => readonly [string, ...string[]];
}
const python = (version: string, program: string): Language => ({
  name: `Python ${version}`,
  make: (folder) => makePython(folder, [`mcp==${version}`]),
  command: (folder) => [pythonIn(folder), join(root, 'test/interop/python', program)],
});
const LANGUAGES: readonly Language[] = [
  python('1.30.0', 'client_v1.py'),
  python('2.3.0', 'client_v2.py'),
  {
    name: 'Go',
    make: (folder) => buildGo('go-mcp', folder, 'client'),
    command: (folder) => [join(folder, 'client')],
  },
];

describe.each(LANGUAGES)('the client in $name', ({ name, make, command }) => {
  const folder = join(built, name.replaceAll(' ', '-'));
  let missing: string | undefined;
  beforeAll(async () => {
    missing = await make(folder);
    if (missing !== undefined) console.warn(`the client in ${name} is not tested: ${missing}`);
  }, BUILD_MS);
  beforeEach(({ skip }) => skip(missing !== undefined, missing));

  test.each([
    ['by URL', () => ['url', programs.url]],
    ['by a command', () => ['command', ...programs.command]],
  ])('%s', async (_how, target) => {
    const [program, ...args] = command(folder);
    const { stdout } = await run(program, [...args, ...target()], { timeout: RUN_MS });
    const { tools, said } = JSON.parse(stdout);
    expect(tools).toContain('echo');
    expect(tools).not.toContain('get-env');
    expect(said).toEqual([
      { text: 'Echo: hello' },
      {
        code: -31403,
        message: 'the call is not allowed',
        data: expect.objectContaining({ reason: expect.stringContaining('condition of polite is not met') }),
      },
      { text: 'Echo: again' },
    ]);
  });
});

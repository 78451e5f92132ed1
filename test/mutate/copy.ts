/** A copy of the checkout as it is now, so that nobody's files are ever without a check. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export interface Copy {
  readonly root: string;
  /** Every file of it, from the root. */
  readonly files: readonly string[];
  remove(): void;
}

/** What git tracks or would; the packages are linked, those of the workspace to the copy's own. */
export function copyOf(checkout: string): Copy {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'chancery-mutate-')));
  const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: checkout,
    maxBuffer: 1 << 28,
  });
  const files = list
    .toString()
    .split('\0')
    .filter((path) => path !== '' && existsSync(join(checkout, path)));
  for (const path of files) cpSync(join(checkout, path), join(root, path), { recursive: true });
  // Tests that ask git for the files of the checkout get an answer.
  execFileSync('git', ['init', '--quiet'], { cwd: root });
  symlinkSync(join(checkout, 'node_modules'), join(root, 'node_modules'));
  for (const folder of new Set(files.filter((path) => path.endsWith('/package.json')).map(dirname))) {
    const packages = join(checkout, folder, 'node_modules');
    // A workspace package is a relative link, which leads into the copy.
    if (existsSync(packages))
      cpSync(packages, join(root, folder, 'node_modules'), { recursive: true, verbatimSymlinks: true });
  }
  return { root, files, remove: () => rmSync(root, { recursive: true, force: true }) };
}

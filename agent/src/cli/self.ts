/** Names this program so that the name stays right after an upgrade. */
import { realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

/** The absolute path of a program, and its first arguments. */
export type Self = readonly [program: string, ...first: string[]];

/**
 * Names Node and this program by links to them, on PATH or in a folder node_modules above: the target of a link has the
 * version in its path, and an upgrade removes it. Without such a link, by the paths themselves.
 */
export function stableSelf(node: string, main: string, path: string | undefined): Self {
  const folders = (path ?? '').split(delimiter).filter((folder) => folder.startsWith('/'));
  const link = (name: string, extra: readonly string[]): string | undefined =>
    [...folders.map((folder) => join(folder, name)), ...extra].find((each) =>
      leadsTo(each, name === 'node' ? node : main),
    );
  const above = parentsOf(main).map((folder) => join(folder, 'node_modules', 'node', 'bin', 'node'));
  return [link('node', above) ?? node, link('chancery-agent', []) ?? main];
}

function parentsOf(path: string): readonly string[] {
  const parent = dirname(path);
  return parent === path ? [] : [parent, ...parentsOf(parent)];
}

function leadsTo(path: string, target: string): boolean {
  try {
    return path !== target && realpathSync(path) === realpathSync(target);
  } catch {
    return false;
  }
}

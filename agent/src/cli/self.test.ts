import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { stableSelf } from './self.ts';

let dir: string;
let node: string;
let main: string;
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'chy-')));
  mkdirSync(join(dir, 'v26.1', 'bin'), { recursive: true });
  mkdirSync(join(dir, 'lib', 'chancery-1.2', 'src'), { recursive: true });
  mkdirSync(join(dir, 'bin'));
  node = join(dir, 'v26.1', 'bin', 'node');
  main = join(dir, 'lib', 'chancery-1.2', 'src', 'main.ts');
  for (const each of [node, main]) writeFileSync(each, '');
});
afterEach(() => rmSync(dir, { recursive: true }));
const link = (target: string, ...path: readonly string[]): string => {
  mkdirSync(join(dir, ...path.slice(0, -1)), { recursive: true });
  symlinkSync(target, join(dir, ...path));
  return join(dir, ...path);
};

test('links on PATH that lead to this Node and this program are named', () => {
  const links = [link(node, 'bin', 'node'), link(main, 'bin', 'chancery-agent')];
  expect(stableSelf(node, main, `relative:${join(dir, 'none')}:${join(dir, 'bin')}`)).toEqual(links);
});

test('a Node of the packages beside the program is named by its folder without a version', () => {
  link(join(dir, 'v26.1'), 'lib', 'node_modules', 'node');
  expect(stableSelf(node, main, undefined)).toEqual([
    join(dir, 'lib', 'node_modules', 'node', 'bin', 'node'),
    main,
  ]);
});

test('a link to another version is not named', () => {
  writeFileSync(join(dir, 'other'), '');
  link(join(dir, 'other'), 'bin', 'node');
  expect(stableSelf(node, main, [join(dir, 'bin'), join(dir, 'v26.1', 'bin')].join(':'))).toEqual([
    node,
    main,
  ]);
});

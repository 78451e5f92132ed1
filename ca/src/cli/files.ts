/** Resources from files, folders and standard input, for `apply`, `check` and `explain`. */

import { readdirSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Invocation, Io } from '@chancery/shared/cli/program.ts';
import { utf8Text } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { inFile, readWholeFile } from '@chancery/shared/unix/files/whole-file.ts';
import { platformsOf } from '../attestors/index.ts';
import { readCaConfig } from '../config.ts';
import { MAX_SET_BYTES, type ResourceFile, type ResourceSet, readResources } from '../registry/resources.ts';
import { configFile } from './flags.ts';

export const FILE_FLAG = {
  file: {
    type: 'string',
    short: 'f',
    multiple: true,
    value: 'PATH',
    says: 'A YAML file, - for standard input, or a folder with its folders; repeatable.',
  },
} as const;

const INPUT = '-';
const MAX_DEPTH = 32;
const MAX_NAMED = 20;

/**
 * The files that -f names, each once. In folders it follows links, skips names that start with a dot and files that are
 * not YAML, and names those on standard error. Throws file.
 */
export async function readFiles(invocation: Invocation, io: Io): Promise<readonly ResourceFile[]> {
  const found = new Found();
  for (const path of invocation.texts('file'))
    if (path === INPUT) found.take('standard input', await io.input(MAX_SET_BYTES));
    else if (isFolder(path)) found.takeFolder(path);
    else found.takeFile(path);
  nameSkipped(found.skipped, io);
  return found.files;
}

/** What the files of -f would be in force, by the CA's config; `check` says what applying them would refuse. */
export async function setInFiles(invocation: Invocation, io: Io): Promise<ResourceSet> {
  const files = await readFiles(invocation, io);
  const { trustDomain, attestors } = readCaConfig(configFile(invocation));
  const platforms = new Set(platformsOf(attestors));
  return readResources(files, { trustDomain, platforms, version: 0, allowSharedServerIds: true });
}

const isFolder = (path: string): boolean => inFile(path, 'file', () => statSync(path).isDirectory());

class Found {
  readonly files: ResourceFile[] = [];
  readonly skipped: string[] = [];
  /** Real paths, so that two links to one file, or a link to a folder above, are read once. */
  readonly #seen = new Set<string>();
  #bytes = 0;

  take(name: string, text: string): void {
    this.#bytes += Buffer.byteLength(text);
    const most = `${MAX_SET_BYTES / 1024 / 1024} MiB`;
    ensure(
      this.#bytes <= MAX_SET_BYTES,
      'file',
      `${name}: with it, the files have more than ${most} of text`,
    );
    this.files.push({ name, text });
  }

  takeFile(path: string): void {
    const reading = { maxBytes: MAX_SET_BYTES, code: 'file' } as const;
    const read = () => (this.#isSeen(path) ? undefined : utf8Text(readWholeFile(path, reading), 'file'));
    const text = inFile(path, 'file', read);
    if (text !== undefined) this.take(path, text);
  }

  takeFolder(path: string): void {
    const before = this.files.length;
    const skipped = this.skipped.length;
    this.#walk(path, 0);
    const how = 'for an empty set give an empty file and --prune-all';
    const not = sentenceOf(this.skipped.slice(skipped));
    ensure(
      this.files.length > before,
      'file',
      `${path} has no .yaml or .yml file${not === '' ? '' : ` (${not})`}; ${how}`,
    );
  }

  #walk(folder: string, depth: number): void {
    if (this.#isSeen(folder)) return;
    ensure(depth <= MAX_DEPTH, 'file', `${folder}: more than ${MAX_DEPTH} folders deep`);
    for (const name of inFile(folder, 'file', () => readdirSync(folder)).toSorted()) {
      const path = join(folder, name);
      const found = inFile(path, 'file', () => statSync(path, { throwIfNoEntry: false }));
      if (name.startsWith('.') || found === undefined) this.skipped.push(path);
      else if (found.isDirectory()) this.#walk(path, depth + 1);
      else if (found.isFile() && /\.ya?ml$/i.test(name)) this.takeFile(path);
      else this.skipped.push(path);
    }
  }

  #isSeen(path: string): boolean {
    const real = realpathSync(path);
    if (this.#seen.has(real)) return true;
    this.#seen.add(real);
    return false;
  }
}

function nameSkipped(skipped: readonly string[], io: Io): void {
  if (skipped.length > 0) io.err(`${sentenceOf(skipped)}\n`);
}

/** Empty if nothing was skipped. */
function sentenceOf(skipped: readonly string[]): string {
  if (skipped.length === 0) return '';
  const more = skipped.length > MAX_NAMED ? ` and ${skipped.length - MAX_NAMED} more` : '';
  return `not read: ${skipped.slice(0, MAX_NAMED).join(', ')}${more}`;
}

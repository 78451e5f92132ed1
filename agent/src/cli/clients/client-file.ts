/**
 * Writes an entry into the config of an MCP client: the whole file at once, with its mode and group, beside a copy of
 * what it was.
 */
import fs from 'node:fs';
import { dirname } from 'node:path';
import { masked } from '@chancery/shared/audit/masked.ts';
import { utf8, utf8Text } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import { ensureLinks, ownOwners } from '@chancery/shared/unix/files/links.ts';
import { ensurePrivateFolder } from '@chancery/shared/unix/files/safe-folder.ts';
import { readTrustedFile } from '@chancery/shared/unix/files/trusted-file.ts';
import { inFile } from '@chancery/shared/unix/files/whole-file.ts';
import { type Entry, readJsonText, withEntry } from './json-text.ts';

/** Claude Code keeps more than its servers in its file: several megabytes on some machines. */
export const MAX_FILE_BYTES = 32 * 1024 * 1024;
/** Entries of other servers may have keys in them. */
const NEW_FILE_MODE = 0o600;
/** At the start of some files. */
export const BOM = '\uFEFF';

/** What is done to a file. */
export interface Change {
  /** The file itself, behind links. */
  readonly file: string;
  /** Its owner. */
  readonly uid: number;
  /** Undefined if there was no file. */
  readonly old: Old | undefined;
  readonly text: string;
  /** Whether an entry of that name was there, with other contents. */
  readonly replaces: boolean;
}

interface Old {
  readonly text: string;
  readonly found: fs.Stats;
}

/**
 * Reads the file and works out the change; undefined if the entry is there already. Throws file, file_mode: for a file
 * that cannot be read or that others may write, one of another user, a link of another user on the way to it, and a
 * client that has no folder here. Blocks.
 */
export function changeOf(path: string, entry: Entry, { uid, ...client }: Reader): Change | undefined {
  ensureLinks(path, ownOwners('file'));
  const there = fs.existsSync(dirname(path));
  const says = `${dirname(path)} does not exist; install ${client.called}, or name another --client`;
  ensure(there, 'file', `${client.called} has no config here: ${says}`);
  const file = fs.existsSync(path) ? fs.realpathSync(path) : path;
  ensurePrivateFolder(dirname(file));
  return inFile(path, 'file', () => {
    const old = oldOf(file, uid);
    const bom = old?.text.startsWith(BOM) === true ? BOM : '';
    const read = readJsonText(old?.text.slice(bom.length) ?? '', client.hasComments);
    const { text, did } = withEntry(read, entry);
    return did === 'nothing'
      ? undefined
      : { file, uid, old, text: `${bom}${text}`, replaces: did === 'replace' };
  });
}

/** Whose file it is: the client's, and the user's. */
interface Reader {
  readonly uid: number;
  readonly called: string;
  readonly hasComments: boolean;
}

function oldOf(file: string, uid: number): Old | undefined {
  const found = fs.lstatSync(file, { throwIfNoEntry: false });
  if (found === undefined) return undefined;
  // A link that leads nowhere, or one that has just been made.
  ensure(!found.isSymbolicLink(), 'file', 'the link leads to no file');
  const text = utf8Text(readTrustedFile(file, { maxBytes: MAX_FILE_BYTES, code: 'file' }), 'file');
  const advice = `run this as uid ${found.uid}`;
  ensure(found.uid === uid, 'file', `it belongs to uid ${found.uid}, and this is uid ${uid}: ${advice}`);
  return { text, found };
}

/**
 * Writes the change; returns the path of the copy of the old file. Throws file if the file is another one by now, since
 * some clients write theirs while they run. Blocks.
 */
export function writeChange({ file, uid, old, text }: Change, now: Date): string | undefined {
  const backup = `${file}.${now.toISOString().replaceAll(/[-:]/g, '')}.bak`;
  const mode = old === undefined ? NEW_FILE_MODE : old.found.mode & 0o7777;
  const owner = old === undefined ? undefined : { uid: old.found.uid, gid: old.found.gid };
  if (old !== undefined) writeFileAtomic(backup, utf8(old.text), mode, owner);
  const still = inFile(file, 'file', () => oldOf(file, uid));
  const isSame = still?.text === old?.text && still?.found.ino === old?.found.ino;
  ensure(isSame, 'file', `${file} has just been changed by another program: end that, and try again`);
  writeFileAtomic(file, utf8(text), mode, owner);
  return old === undefined ? undefined : backup;
}

/** The lines that go and come, with the line where they are: one place, since one entry changes. Keys are masked. */
export function differenceOf({ file, old, text }: Change): string {
  const [before, after] = [linesOf(old?.text ?? ''), linesOf(text)];
  const start = sameAtStart(before, after);
  const rest = [before.slice(start), after.slice(start)] as const;
  const end = sameAtStart(rest[0].toReversed(), rest[1].toReversed());
  const marked = (sign: string, lines: readonly string[]): string =>
    masked(lines.slice(0, lines.length - end).join('\n'))
      .split('\n')
      .filter((line, at) => at > 0 || line !== '' || lines.length > end)
      .map((line) => `${sign}${line}\n`)
      .join('');
  return `${file}, line ${start + 1}\n${marked('-', rest[0])}${marked('+', rest[1])}`;
}

const linesOf = (text: string): readonly string[] =>
  text === '' ? [] : text.replaceAll('\r', '').split('\n');

function sameAtStart(a: readonly string[], b: readonly string[]): number {
  const at = a.findIndex((line, index) => line !== b[index]);
  return at < 0 ? a.length : at;
}

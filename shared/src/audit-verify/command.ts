/** `chancery-audit-verify`: its arguments. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Command,
  type ExitStatus,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
} from '../cli/program.ts';
import { type NoteKey, readVerifierKey } from '../tlog/note.ts';
import { verifyEntry } from './entry.ts';
import { verifyFolder } from './verify.ts';

export const FROM_FLAG = {
  from: {
    type: 'string',
    multiple: true,
    value: 'CHECKPOINT',
    says: 'A checkpoint that was kept elsewhere: the log must begin with its entries; repeatable.',
  },
} as const;

export const verifyCommand: Command = {
  says: 'Verifies a copy of an audit log, or a proof of one entry: 0 if it is what was signed, 1 if not, 2 if unknown.',
  positionals: '[DIR]',
  flags: {
    key: {
      type: 'string',
      value: 'KEY',
      says: "The log's verifier key, or a file with it (default: DIR/verifier-key, which proves less).",
    },
    ...FROM_FLAG,
    proof: {
      type: 'string',
      value: 'FILE',
      says: 'In the place of DIR: what `chancery-ca audit proof` has printed; needs --key.',
    },
    ...JSON_FLAG,
  },
  async run(invocation, io) {
    const proof = invocation.text('proof');
    if (proof !== undefined) return orTwo(() => provedBy(proof, invocation, io), io);
    const [folder, ...more] = invocation.positionals;
    if (folder === undefined || more.length > 0)
      throw new MisuseError('give one folder: a copy of dataDir/log');
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true)
      throw new MisuseError(`${folder} is not a folder`);
    if (!['checkpoint', 'tile'].some((name) => existsSync(join(folder, name))))
      throw new MisuseError(`${folder} has neither a checkpoint nor tiles: it is no copy of an audit log`);
    const key = keyOf(invocation.text('key'), folder, io);
    const kept = keptOf(invocation.texts('from'));
    return orTwo(() => verifyFolder({ folder, key, kept, json: invocation.has('json') }, io), io);
  },
};

async function provedBy(file: string, invocation: Invocation, io: Io): Promise<ExitStatus> {
  const given = invocation.text('key');
  if (given === undefined)
    throw new MisuseError('a proof says nothing without the key of the log: give --key');
  if (invocation.positionals.length > 0 || invocation.texts('from').length > 0)
    throw new MisuseError('--proof takes neither a folder nor --from');
  const [bytes, key] = [readOr(file), keyOf(given, '', io)];
  return verifyEntry({ name: file, bytes, key, json: invocation.has('json') }, io);
}

/** Status 2 with the reason for whatever cannot be verified at all. */
async function orTwo(verify: () => Promise<ExitStatus>, io: Io): Promise<ExitStatus> {
  try {
    return await verify();
  } catch (error) {
    if (io.signal.aborted || error instanceof MisuseError) throw error;
    io.err(`chancery-audit-verify: ${error instanceof Error ? error.message : String(error)}\n`);
    return 2;
  }
}

/** Reads the files of `--from`. Throws MisuseError. */
export const keptOf = (files: readonly string[]) => files.map((name) => ({ name, note: readOr(name) }));

function keyOf(given: string | undefined, folder: string, io: Io): NoteKey {
  const own = join(folder, 'verifier-key');
  if (given === undefined)
    io.err(
      `warning: the key is that of ${own}, which comes with the log: give the key that you know with --key\n`,
    );
  // The name of a file may have a "+", too.
  const isKey = (text: string): boolean =>
    VERIFIER_KEY.test(text) || (text.includes('+') && !existsSync(text));
  const text =
    given !== undefined && isKey(given) ? given : Buffer.from(readOr(given ?? own)).toString('utf8');
  try {
    return readVerifierKey(text.trim());
  } catch (error) {
    throw new MisuseError(error instanceof Error ? error.message : String(error));
  }
}

/** NAME+key ID+base64 of 33 bytes, whose first is 1. */
const VERIFIER_KEY = /^[^+]+\+[0-9a-f]{8}\+A[\w+/=]{43}$/;

function readOr(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new MisuseError(
      `${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

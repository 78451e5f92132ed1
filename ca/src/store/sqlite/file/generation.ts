/**
 * How far the database had come, in a file outside of it: the sequence of its newest audit event. A database whose WAL
 * was lost, or which is an older copy, has come less far, and what was revoked since is missing from it.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';

/** Throws store if the file knows of more events than the database has. */
export function ensureNotOlder(path: string, sequence: number): void {
  const known = readGeneration(path);
  const lost = known - sequence;
  const what = 'the database is older than the CA that last ran here';
  const says = `${what}: its newest record is ${sequence}, ${path} says ${known}`;
  const why = 'its -wal was lost or an older copy was put back, and revocations since then may be missing';
  const newest = 'Put the newest copy in place, or make the folder from a backup with chancery-ca restore';
  const advice = `${newest}. To go on without what is missing, remove ${path}`;
  ensure(lost <= 0, 'store', `${says}: ${why}. ${advice}; docs/operations.md says what to look at first`);
}

/** Durable when it returns. Throws file. */
export function writeGeneration(path: string, sequence: number): void {
  const folder = dirname(path);
  try {
    if (!existsSync(folder)) mkdirSync(folder, { mode: 0o700 });
    writeFileAtomic(path, utf8(`${sequence}\n`), 0o600);
  } catch (error) {
    const says = error instanceof Error ? error.message : String(error);
    throw new IdentityError('file', `${path} could not be written: ${says}`, { cause: error });
  }
}

/** 0 without a file. */
function readGeneration(path: string): number {
  const text = textOf(path);
  if (text === undefined) return 0;
  ensure(
    /^\d{1,15}\n$/.test(text),
    'store',
    `${path} is damaged: a number is expected; restore it or remove it`,
  );
  return Number(text);
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    const says = error instanceof Error ? error.message : String(error);
    throw new IdentityError('store', `${path} cannot be read: ${says}`, { cause: error });
  }
}

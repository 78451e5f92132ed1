/** Checkpoints: C2SP tlog-checkpoint. The origin, the number of entries and the root hash, a line each, signed. */
import type { KeyObject } from 'node:crypto';
import { base64 } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { ensureHash } from './hash.ts';
import { type NoteKey, openNote, signNote } from './note.ts';

export interface Checkpoint {
  /** How many entries the tree has. */
  readonly size: number;
  readonly root: Uint8Array;
}

/** A note whose origin is the name of the key. The signature is always the same for the same checkpoint. */
export function signCheckpoint({ size, root }: Checkpoint, key: NoteKey, privateKey: KeyObject): string {
  return signNote(`${key.name}\n${size}\n${base64(root)}\n`, key, privateKey);
}

/** Verifies the signature, then reads. Lines after the third are ignored. Throws tlog. */
export function openCheckpoint(note: Uint8Array, key: NoteKey): Checkpoint {
  const [origin, size = '', encoded = '', ...more] = openNote(note, key).split('\n');
  ensure(origin === key.name, 'tlog', `the checkpoint is of ${origin}, not of ${key.name}`);
  const isSize = /^(0|[1-9]\d*)$/.test(size) && Number.isSafeInteger(Number(size));
  ensure(isSize, 'tlog', 'the second line of the checkpoint is not a number of entries');
  const root = Buffer.from(encoded, 'base64');
  ensure(base64(root) === encoded, 'tlog', 'the third line of the checkpoint is not base64');
  ensureHash(root, 'the root of the checkpoint');
  ensure(more.at(-1) === '' && more.slice(0, -1).every((line) => line !== ''), 'tlog', 'a line is empty');
  return { size: Number(size), root };
}

/**
 * What the key of the CA's audit log says of a state that the CA pushes to agents: a signed note (C2SP signed-note).
 * Who has the key of a root alone can be the CA for an agent, and cannot make such notes.
 */
import type { KeyObject } from 'node:crypto';
import { base64, equal, utf8 } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { type NoteKey, openNote, signNote } from '../tlog/note.ts';

/** The parts of a state, each with numbers of its own. */
export type StatePart = 'bundle' | 'policy' | 'revocations';

export interface StateClaim {
  readonly part: StatePart;
  /** Grows with every change of the part. */
  readonly number: bigint;
  /** The SPIFFE ID that a policy is for; undefined for what all agents get. */
  readonly subject?: string | undefined;
  /** 32 bytes, of `state-digest.ts`. */
  readonly digest: Uint8Array;
}

/** Keeps these notes apart from checkpoints, whose first line is the name of the key. */
const originOf = ({ name }: NoteKey): string => `${name} state v1`;
/** The subject of what all agents get. */
const ALL = 'all';
const PARTS: readonly string[] = ['bundle', 'policy', 'revocations'] satisfies readonly StatePart[];
const MAX_NUMBER = 2n ** 64n - 1n;

/** Five lines: the origin, the part, its number, its subject, its digest. Always the same for the same claim. */
export function signState(
  { part, number, subject = ALL, digest }: StateClaim,
  key: NoteKey,
  privateKey: KeyObject,
): string {
  const lines = [originOf(key), part, String(number), subject, base64(digest)];
  return signNote(`${lines.join('\n')}\n`, key, privateKey);
}

/** Verifies the signature, then reads. Throws tlog. */
export function openState(note: string, key: NoteKey): StateClaim {
  const lines = openNote(utf8(note), key).split('\n');
  const [origin, part = '', number = '', subject = '', encoded = '', ...rest] = lines;
  ensure(origin === originOf(key), 'tlog', `the note is not of a state: it begins with ${origin}`);
  ensure(PARTS.includes(part), 'tlog', `the note is of ${part}, which is no part of a state`);
  const isNumber = /^(0|[1-9]\d{0,19})$/.test(number) && BigInt(number) <= MAX_NUMBER;
  ensure(isNumber, 'tlog', 'the third line of the note is not the number of a state');
  const digest = Buffer.from(encoded, 'base64');
  const isDigest = base64(digest) === encoded && digest.length === 32;
  ensure(isDigest && subject !== '' && rest.join() === '', 'tlog', 'the note of a state has other lines');
  return {
    part: part as StatePart,
    number: BigInt(number),
    subject: subject === ALL ? undefined : subject,
    digest,
  };
}

/** Verifies that the note says just this. Throws tlog. */
export function verifyState(note: string, claim: StateClaim, key: NoteKey): void {
  const { part, number, subject, digest } = openState(note, key);
  const says = `the note is of ${part} ${number} for ${subject ?? ALL}`;
  const same = part === claim.part && number === claim.number && subject === claim.subject;
  ensure(same, 'tlog', `${says}, and came with ${claim.part} ${claim.number} for ${claim.subject ?? ALL}`);
  ensure(equal(digest, claim.digest), 'tlog', `${says}, and what came with it is another one`);
}

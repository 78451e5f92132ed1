/**
 * What the key of the CA's audit log says of the certificate that the CA shows: a signed note (C2SP signed-note), made
 * anew for each caller. Who has the key of an authority alone can make such a certificate, and cannot make the note.
 */
import { hash, type KeyObject } from 'node:crypto';
import { base64, utf8 } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { type NoteKey, openNote, signNote } from '../tlog/note.ts';

/** What a note is about. */
export interface ShownPeer {
  /** NONCE_BYTES of the caller's, drawn for this note: an older one proves nothing. */
  readonly nonce: Uint8Array;
  /** The leaf that the caller sees, X.509 DER. */
  readonly certificate: Uint8Array;
}

export const NONCE_BYTES = 32;

/** Three lines: the origin keeps these notes apart from those of states and from checkpoints. */
const textOf = ({ nonce, certificate }: ShownPeer, { name }: NoteKey): string =>
  `${name} peer v1\n${base64(nonce)}\n${hash('sha256', certificate, 'base64')}\n`;

/** The note. */
export const signPeer = (peer: ShownPeer, key: NoteKey, privateKey: KeyObject): string =>
  signNote(textOf(peer, key), key, privateKey);

/** Verifies that the note says just this. Throws tlog. */
export function verifyPeer(note: string, peer: ShownPeer, key: NoteKey): void {
  const isSame = openNote(utf8(note), key) === textOf(peer, key);
  ensure(
    isSame,
    'tlog',
    'the note is of another certificate than the one that was shown, or of another nonce',
  );
}

/**
 * Signed notes: C2SP signed-note, with Ed25519 signatures. A text that ends in a line feed, an empty line, and one line
 * for each signature: `— <key name> <base64 of key ID and signature>`.
 */
import { createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto';
import { asBuffer, base64, concat, equal, u8, utf8, utf8Text } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';

/** Who signs: a name, and the public key as RFC 8032 encodes it. Both together make the key ID. */
export interface NoteKey {
  readonly name: string;
  /** Four bytes. */
  readonly id: Uint8Array;
  readonly publicKey: KeyObject;
  /** 32 bytes. */
  readonly raw: Uint8Array;
}

const ED25519 = 1;
const [ID_BYTES, KEY_BYTES, SIGNATURE_BYTES] = [4, 32, 64];
/** All of a SubjectPublicKeyInfo before the key: RFC 8410 section 4. */
const SPKI_BEGINS = Buffer.from('302a300506032b6570032100', 'hex');
/** Also of witnesses, whose signatures may have kilobytes each. */
const MAX_SIGNATURES = 64;
const MAX_NOTE_BYTES = 1024 * 1024;
const EM_DASH = '\u2014';

/** Throws tlog for a name that a note cannot have, and for a key that is not Ed25519. */
export function noteKey(name: string, publicKey: KeyObject): NoteKey {
  ensureName(name);
  ensure(publicKey.asymmetricKeyType === 'ed25519', 'tlog', 'the key of a note is Ed25519');
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const raw = spki.subarray(SPKI_BEGINS.length);
  return { name, publicKey, raw, id: keyId(name, raw) };
}

/** `<name>+<key ID in hexadecimal>+<base64 of type and key>`: how verifiers are given a key. */
export const writeVerifierKey = ({ name, id, raw }: NoteKey): string =>
  `${name}+${asBuffer(id).toString('hex')}+${base64(concat(u8(ED25519), raw))}`;

/** Throws tlog for what is not a verifier key of an Ed25519 key. */
export function readVerifierKey(text: string): NoteKey {
  const [, name = '', id = '', encoded = ''] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text) ?? [];
  ensure(encoded !== '', 'tlog', 'a verifier key is NAME+8 hexadecimal digits+base64');
  const key = fromBase64(encoded, 'the verifier key');
  ensure(
    key.length === 1 + KEY_BYTES && key[0] === ED25519,
    'tlog',
    'the verifier key is not of type Ed25519',
  );
  const spki = asBuffer(concat(SPKI_BEGINS, key.subarray(1)));
  const found = noteKey(name, createPublicKey({ key: spki, format: 'der', type: 'spki' }));
  const same = asBuffer(found.id).toString('hex') === id;
  ensure(same, 'tlog', `the verifier key has key ID ${id}, its name and key make another`);
  return found;
}

/** The note: the text and one signature. Throws tlog for a text that a note cannot have. */
export function signNote(text: string, key: NoteKey, privateKey: KeyObject): string {
  ensure(text.endsWith('\n') && isNoteText(text), 'tlog', 'the text of a note ends with a line feed');
  const signature = sign(undefined, utf8(text), privateKey);
  return `${text}\n${EM_DASH} ${key.name} ${base64(concat(key.id, signature))}\n`;
}

/** The text, if this key has signed it. Signatures of other keys are ignored. Throws tlog. */
export function openNote(bytes: Uint8Array, key: NoteKey): string {
  ensure(
    bytes.length <= MAX_NOTE_BYTES,
    'tlog',
    `the note has ${bytes.length} bytes, at most ${MAX_NOTE_BYTES}`,
  );
  const note = utf8Text(bytes, 'tlog', 'the note');
  const end = note.lastIndexOf('\n\n');
  ensure(isNoteText(note) && end >= 0, 'tlog', 'this is not a signed note: no empty line before signatures');
  const [text, lines] = [note.slice(0, end + 1), note.slice(end + 2)];
  const signatures = readSignatures(lines).filter(({ name, id }) => name === key.name && equal(id, key.id));
  ensure(signatures.length > 0, 'tlog', `the note is not signed by ${key.name} with this key`);
  for (const { signature } of signatures) {
    const good =
      signature.length === SIGNATURE_BYTES && verify(undefined, utf8(text), key.publicKey, signature);
    ensure(good, 'tlog', `the signature of ${key.name} does not verify`);
  }
  return text;
}

interface NoteSignature {
  readonly name: string;
  readonly id: Uint8Array;
  readonly signature: Uint8Array;
}

function readSignatures(lines: string): readonly NoteSignature[] {
  ensure(lines.endsWith('\n'), 'tlog', 'the note does not end with a line feed');
  const each = lines.slice(0, -1).split('\n');
  ensure(
    each.length <= MAX_SIGNATURES,
    'tlog',
    `the note has ${each.length} signatures, at most ${MAX_SIGNATURES}`,
  );
  return each.map((line) => {
    const [, name = '', encoded = ''] = /^\u2014 ([^ ]+) ([^ ]+)$/.exec(line) ?? [];
    ensure(encoded !== '', 'tlog', `a line after the text is not a signature: ${line.slice(0, 80)}`);
    ensureName(name);
    const bytes = fromBase64(encoded, 'a signature');
    ensure(bytes.length > ID_BYTES, 'tlog', 'a signature is too short');
    return { name, id: bytes.subarray(0, ID_BYTES), signature: bytes.subarray(ID_BYTES) };
  });
}

/** key ID = SHA-256(key name || 0x0A || 0x01 || public key)[:4] */
const keyId = (name: string, raw: Uint8Array): Uint8Array =>
  hash('sha256', concat(utf8(`${name}\n`), u8(ED25519), raw), 'buffer').subarray(0, ID_BYTES);

function ensureName(name: string): void {
  ensure(/^[^\s+]+$/u.test(name) && isNoteText(name), 'tlog', 'the name of a key has no spaces and no "+"');
}

/** No ASCII control character but the line feed. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: which characters a note may have
const isNoteText = (text: string): boolean => !/[\u0000-\u0009\u000b-\u001f]/.test(text);

/** Strict: only one text stands for the bytes. */
function fromBase64(text: string, what: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64');
  ensure(base64(bytes) === text, 'tlog', `${what} is not base64`);
  return bytes;
}

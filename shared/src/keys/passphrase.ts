/**
 * A key-encryption key that comes from a passphrase by scrypt (RFC 7914). The file in its place has the costs, the salt
 * and where the passphrase is, which are no secrets:
 *
 * scrypt-17-8-1 SALT CHECK /path/of/passphrase
 */
import { hash, randomBytes, scryptSync } from 'node:crypto';
import { asBuffer, base64, concat, utf8 } from '../ground/bytes.ts';
import { ensure } from '../ground/errors.ts';
import { readProtectedFile } from './secret-file.ts';

/** log2 of N, r and p: 128 MiB, and 0.4 s of one core for each guess on a machine of 2024. */
const COSTS = '17-8-1';
const [N, R, P] = [2 ** 17, 8, 1];
const MAX_MEMORY = 2 * 128 * N * R;
const [SALT, KEY] = [32, 32];
/** Shorter ones can be guessed by who has the key files; a phrase of six random words is longer. */
const MIN_CHARACTERS = 16;
const MAX_BYTES = 1024;
const LINE = /^scrypt-17-8-1 ([A-Za-z0-9+/]{43}=) ([A-Za-z0-9+/]{43}=) (\/[^\r\n]+)$/;

/** What such a file says. */
export interface Derivation {
  readonly salt: Uint8Array;
  /** SHA-256 of the key under a label: tells a wrong passphrase from a damaged key file. */
  readonly check: string;
  /** Absolute path of the file with the passphrase. */
  readonly passphraseFile: string;
}

/** Undefined if the text is that of another kind of file. */
export function readDerivation(text: string): Derivation | undefined {
  const [, salt, check, passphraseFile] = LINE.exec(text) ?? [];
  if (salt === undefined || check === undefined || passphraseFile === undefined) return undefined;
  return { salt: Buffer.from(salt, 'base64'), check, passphraseFile };
}

/** Another salt each time. Throws file, file_mode. Blocks, for as long as the derivation takes. */
export function writeDerivation(passphraseFile: string): string {
  const salt = randomBytes(SALT);
  const check = checkOf(derived(readPassphrase(passphraseFile), salt));
  return derivationText({ salt, check, passphraseFile });
}

/** What `readDerivation` reads. */
export const derivationText = ({ salt, check, passphraseFile }: Derivation): string =>
  `scrypt-${COSTS} ${base64(salt)} ${check} ${passphraseFile}`;

/** The key-encryption key. Throws file for another passphrase, and file_mode. Blocks, the first time for 0.4 s. */
export function deriveKek({ salt, check, passphraseFile }: Derivation): Uint8Array {
  const kek = derived(readPassphrase(passphraseFile), salt);
  const says = `${passphraseFile} has another passphrase than the one that the key-encryption key comes from`;
  ensure(checkOf(kek) === check, 'file', says);
  return kek;
}

/** One line of at least 16 characters. Throws file, file_mode. Blocks. */
function readPassphrase(path: string): Uint8Array {
  const text = asBuffer(readProtectedFile(path, MAX_BYTES))
    .toString('utf8')
    .replace(/\r?\n$/, '');
  ensure(!/[\r\n\0]/.test(text), 'file', `${path}: one line with the passphrase is expected`);
  const says = `${path}: a passphrase of at least ${MIN_CHARACTERS} characters is expected, found ${text.length}`;
  ensure(text.length >= MIN_CHARACTERS, 'file', says);
  return utf8(text.normalize('NFC'));
}

/** What was derived last, by SHA-256 of salt and passphrase: files are read at each use, and scrypt is slow. */
const known = new Map<string, Uint8Array>();
/** The one in force, the one before, and the next. */
const MAX_KNOWN = 3;

function derived(passphrase: Uint8Array, salt: Uint8Array): Uint8Array {
  const name = hash('sha256', concat(salt, passphrase), 'hex');
  const kek = known.get(name) ?? scryptSync(passphrase, salt, KEY, { N, r: R, p: P, maxmem: MAX_MEMORY });
  known.delete(name);
  known.set(name, kek);
  for (const each of [...known.keys()].slice(0, -MAX_KNOWN)) known.delete(each);
  return kek;
}

const checkOf = (kek: Uint8Array): string =>
  base64(asBuffer(hash('sha256', concat(utf8('chancery-passphrase-check'), kek), 'buffer')));

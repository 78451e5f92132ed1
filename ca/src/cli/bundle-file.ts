/**
 * What `bundle` prints as PEM and `login --bundle` reads: the authorities, and the key of the audit log in a line
 * below, which readers of PEM leave out (RFC 7468, section 5.2). A thief of an authority does not have that key.
 */
import { writePem } from '@chancery/shared/der/pem.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { readVerifierKey } from '@chancery/shared/tlog/note.ts';

const LINE = /^# key of the audit log: (.*)$/gm;

/** `logKey` is empty for a CA that names none. */
export const writeBundleFile = (authorities: readonly Uint8Array[], logKey: string): string =>
  authorities.map((der) => writePem('CERTIFICATE', der)).join('') +
  (logKey === '' ? '' : `# key of the audit log: ${logKey}\n`);

/** Undefined in a file of an older release, or of certificates alone. Throws bundle. */
export function carriedLogKey(text: string): string | undefined {
  const [key, ...more] = [...text.matchAll(LINE)].map(([, found = '']) => found.trim());
  ensure(more.length === 0, 'bundle', 'the file has more than one key of an audit log');
  if (key === undefined) return undefined;
  try {
    readVerifierKey(key);
  } catch (cause) {
    const says =
      'the key of the audit log in the file cannot be read: carry what `chancery-ca bundle` prints';
    throw new IdentityError('bundle', says, { cause });
  }
  return key;
}

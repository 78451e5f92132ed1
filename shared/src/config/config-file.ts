/** A config decides what a program runs and whom it trusts. */
import { utf8Text } from '../ground/bytes.ts';
import { IdentityError } from '../ground/errors.ts';
import { readTrustedFile } from '../unix/files/trusted-file.ts';
import { inFile } from '../unix/files/whole-file.ts';

const MAX_BYTES = 1024 * 1024;

/** The text of a config, which is a trusted file. `hint` is said where the file is missing. Throws config. Blocks. */
export function readConfigFile(path: string, hint: string): string {
  return inFile(path, 'config', () => {
    try {
      return utf8Text(readTrustedFile(path, { maxBytes: MAX_BYTES, code: 'config' }), 'config');
    } catch (error) {
      const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
      throw missing ? new IdentityError('config', `no such file${hint}`, { cause: error }) : error;
    }
  });
}

/**
 * The lists that were taken last, in a file beside `state.json`: an agent that starts while its CA is away has them for
 * its outputs. What is read is verified as what the CA sends, so a file that was changed gives no other lists.
 */
import { existsSync } from 'node:fs';
import { base64, utf8 } from '@chancery/shared/ground/bytes.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import { readProtectedFile, replaceFile } from '@chancery/shared/keys/secret-file.ts';
import type { OfferedCrl } from './accept.ts';
import { MAX_TOTAL_BYTES } from './fetch.ts';

/** Base64 takes a third more. */
const MAX_BYTES = 2 * MAX_TOTAL_BYTES;
const MODE = 0o600;

export interface SavedCrls {
  /** Not verified; none where the file is missing or cannot be read. Blocks. */
  read(): readonly OfferedCrl[];
  /** Logs why they could not be written. */
  write(lists: readonly OfferedCrl[]): Promise<void>;
}

/** A line for each list: its issuer and the list, X.509 DER, in base64. */
export const savedCrls = (path: string, log: Log): SavedCrls => ({
  read: () => {
    if (!existsSync(path)) return [];
    try {
      const text = Buffer.from(readProtectedFile(path, MAX_BYTES)).toString('latin1');
      return text.trimEnd().split('\n').map(listIn);
    } catch (error) {
      log.warn({ err: error, path }, 'the revocation lists of before cannot be read; waiting for the CA');
      return [];
    }
  },
  write: async (lists) => {
    const text = lists.map(({ issuer, der }) => `${base64(issuer)} ${base64(der)}\n`).join('');
    try {
      await replaceFile(path, utf8(text), MODE);
    } catch (error) {
      log.warn({ err: error, path }, 'the revocation lists could not be kept for a restart without the CA');
    }
  },
});

function listIn(line: string): OfferedCrl {
  const [issuer = '', der = ''] = line.split(' ');
  return { issuer: Buffer.from(issuer, 'base64'), der: Buffer.from(der, 'base64') };
}

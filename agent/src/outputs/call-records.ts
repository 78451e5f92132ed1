/** Where a gateway's decisions go: one JSON line each, appended to a file of our own, 0600, before the call goes on. */
import fs from 'node:fs';
import { refusalOf } from '@chancery/shared/errors.ts';
import { openPrivateFile } from '@chancery/shared/kernel/append-file.ts';
import { inFile } from '@chancery/shared/kernel/whole-file.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import { systemSentence } from '@chancery/shared/text/system-sentence.ts';

export interface CallRecords {
  /** All by one write. Throws file where a line could not be written: no record, no call. */
  record(...events: readonly object[]): void;
  close(): void;
}

/** A regular file: whoever reads a pipe could stop all calls. Throws file. */
export function openCallRecords(path: string): CallRecords {
  const fd = open(path);
  return {
    record: (...events) => {
      const lines = events.map((event) => `${printable(JSON.stringify(event))}\n`).join('');
      try {
        // Unlike writeSync, all of it or an error.
        fs.writeFileSync(fd, lines);
      } catch (error) {
        throw refusalOf(
          error,
          'file',
          `${path}: the call could not be recorded: ${systemSentence(error) ?? String(error)}`,
        );
      }
    },
    close: () => fs.closeSync(fd),
  };
}

function open(path: string): number {
  return inFile(`records: ${path}`, 'file', () => openPrivateFile(path, 'file'));
}

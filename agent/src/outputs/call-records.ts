/** Writes a gateway's decisions to a file, 0600, as JSON lines, before the call is forwarded. */
import fs from 'node:fs';
import { refusalOf } from '@chancery/shared/ground/errors.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import { systemSentence } from '@chancery/shared/text/system-sentence.ts';
import { openPrivateFile } from '@chancery/shared/unix/files/append-file.ts';
import { inFile } from '@chancery/shared/unix/files/whole-file.ts';

export interface CallRecords {
  /** Appends all events by one write. Throws file if a line could not be written: no record, no call. */
  record(...events: readonly object[]): void;
  /** Closes the file. */
  close(): void;
}

/** A regular file: the reader of a pipe could stop all calls. Throws file. */
export function openCallRecords(path: string): CallRecords {
  const fd = open(path);
  // A killed process or a full disk may leave half a line: the next record begins a new line.
  let torn = endsWithinLine(path);
  return {
    record: (...events) => {
      const lines = events.map((event) => `${printable(JSON.stringify(event))}\n`).join('');
      try {
        // Unlike writeSync, writes everything or throws.
        fs.writeFileSync(fd, torn ? `\n${lines}` : lines);
        torn = false;
      } catch (error) {
        torn = true;
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

function endsWithinLine(path: string): boolean {
  return inFile(`records: ${path}`, 'file', () => {
    const fd = fs.openSync(path, 'r');
    try {
      const last = Buffer.alloc(1, '\n');
      fs.readSync(fd, last, 0, 1, Math.max(0, fs.fstatSync(fd).size - 1));
      return last.toString() !== '\n';
    } finally {
      fs.closeSync(fd);
    }
  });
}

function open(path: string): number {
  return inFile(`records: ${path}`, 'file', () => openPrivateFile(path, 'file'));
}

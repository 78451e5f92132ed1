/**
 * Numbers of records in whose place something else was sent. Of these the CA has another digest, also after a restart:
 * they are in a file beside the segments.
 */
import fs from 'node:fs';
import { join } from 'node:path';

/** The newest ones: the CA says the digest of its newest record alone. */
const MAX_NUMBERS = 256;

/** The numbers of one spool, that of the oldest record; another one begins anew. */
export class Instead {
  readonly #path: string;
  #spool: string;
  #numbers: readonly number[];

  /** Reads the file; one that is not there, or spoiled, has none. Blocks. */
  constructor(folder: string) {
    this.#path = join(folder, 'instead');
    const [spool = '', ...lines] = textOf(this.#path).split('\n');
    [this.#spool, this.#numbers] = [spool, lines.map(Number).filter(Number.isSafeInteger)];
  }

  /** Whether something else was sent under this number of the spool. */
  has(spool: string, number: number): boolean {
    return spool === this.#spool && this.#numbers.includes(number);
  }

  /** Notes it, as far as the disk lets it: otherwise some records may be sent twice after a restart. Blocks. */
  add(spool: string, number: number): void {
    if (this.has(spool, number)) return;
    const before = spool === this.#spool ? this.#numbers : [];
    [this.#spool, this.#numbers] = [spool, [...before, number].slice(-MAX_NUMBERS)];
    try {
      fs.writeFileSync(this.#path, [spool, ...this.#numbers].join('\n'), { mode: 0o600 });
    } catch {
      // In memory all the same.
    }
  }
}

function textOf(path: string): string {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

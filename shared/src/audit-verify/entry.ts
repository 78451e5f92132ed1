/** Verifies the proof of one entry, as `chancery-ca audit proof` prints it, without the log. */
import type { ExitStatus, Io } from '../cli/program.ts';
import { utf8Text } from '../ground/bytes.ts';
import { ensure, isRefusal } from '../ground/errors.ts';
import type { NoteKey } from '../tlog/note.ts';
import { readProof, verifyProof } from '../tlog/proof-text.ts';

export interface ProofToVerify {
  /** What it is called in messages. */
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly key: NoteKey;
  readonly json: boolean;
}

/** Prints the entry (0) if the log that the key signs has it, else why not (1). Throws tlog for another file. */
export function verifyEntry({ name, bytes, key, json }: ProofToVerify, io: Io): ExitStatus {
  const proof = readProof(bytes);
  const { index, extra } = proof;
  ensure(extra.length > 0, 'tlog', `${name} does not have the entry (a line "extra"), so nothing is proved`);
  const entry = utf8Text(extra, 'tlog', `the entry of ${name}`);
  try {
    const { size } = verifyProof(proof, extra, key);
    if (json) io.out(`${JSON.stringify({ good: true, origin: key.name, index, size, entry }, null, 2)}\n`);
    else io.out(`good: ${name}: entry ${index} of ${size} that ${key.name} signed:\n${entry}\n`);
    return 0;
  } catch (error) {
    if (!isRefusal(error, 'tlog')) throw error;
    const { message: problem } = error;
    if (json) io.out(`${JSON.stringify({ good: false, origin: key.name, index, problem }, null, 2)}\n`);
    else io.out(`BAD  ${name}: ${problem}\n`);
    return 1;
  }
}

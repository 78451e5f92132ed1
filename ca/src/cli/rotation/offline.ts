/** `authorities request` and `authorities import`: what an offline root is asked for, and its answer. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { AuthorityRequest } from '@chancery/proto/gen/chancery/v1/offline.ts';
import type { ExitStatus, Invocation, Io } from '@chancery/shared/cli/program.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import { inFile, readWholeFile } from '@chancery/shared/unix/files/whole-file.ts';
import { instant, printJson } from '../flags.ts';
import { callOperator } from '../operator/admin.ts';

/** As the ceremony reads: more is no answer. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** Asks the offline root now, if nothing is open, and prints what to do. */
export async function requestAuthority(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const output = invocation.text('output');
  const open = await callOperator(invocation, (client) => client.askForAuthority, {});
  if (output !== undefined) {
    ensure(!existsSync(output), 'file', `${output} is there already: name another file`);
    writeFileAtomic(resolve(output), utf8(open.pem), 0o644);
  }
  if (invocation.has('json')) printJson(io, open);
  else {
    io.out(`${openRequestLine(open)}\nrequest: ${output ?? open.file}\n`);
    io.out('next:  chancery-ca ceremony sign REQUEST -o ANSWER --yes, where the root is\n');
    io.out('       chancery-ca authorities import ANSWER\n');
  }
  return 0;
}

/** One line of status. */
export function openRequestLine({ root, since, until }: AuthorityRequest): string {
  const end =
    until === 0n ? 'nothing is issued without it' : `without it nothing is issued from ${instant(until)} on`;
  return `waits for root ${root}, which is offline, since ${instant(since)}: ${end}`;
}

/** Takes the answer of the offline root. */
export async function importAuthority(file: string, invocation: Invocation, io: Io): Promise<ExitStatus> {
  const reading = { maxBytes: MAX_ANSWER_BYTES, code: 'file' } as const;
  const answer = inFile(file, 'file', () => readWholeFile(file, reading));
  const dryRun = invocation.has('dry-run');
  const imported = await callOperator(invocation, (client) => client.importAuthority, { answer, dryRun });
  if (invocation.has('json')) printJson(io, imported);
  else {
    const did = dryRun ? 'would sign' : 'signs';
    const { serial, notAfter } = imported;
    io.out(`intermediate ${serial} ${did} from now on, until ${instant(notAfter)}\n`);
    if (dryRun) io.out('nothing was changed (dry run)\n');
  }
  return 0;
}

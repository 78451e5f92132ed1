/** `authorities request` and `authorities import`: what an offline root or a CA above is asked for, and its answer. */
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type {
  AuthorityRequest,
  ImportedAuthority,
  RequestAbove,
} from '@chancery/proto/gen/chancery/v1/offline.ts';
import type { ExitStatus, Invocation, Io } from '@chancery/shared/cli/program.ts';
import { asBuffer, utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { writeFileAtomic } from '@chancery/shared/keys/secret-file.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import { makeFolder } from '@chancery/shared/unix/files/make-folder.ts';
import { inFile, readWholeFile } from '@chancery/shared/unix/files/whole-file.ts';
import { instant, printJson, printWarnings } from '../flags.ts';
import { callOperator } from '../operator/admin.ts';

/** As the ceremony reads: more is no answer. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** Asks the offline root now, if nothing is open, and prints what to do. */
export async function requestAuthority(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const output = invocation.text('output');
  if (output !== undefined) ensureFree(resolve(output));
  if (invocation.has('dry-run')) return wouldAsk(invocation, io);
  const { requests } = await callOperator(invocation, (client) => client.askForAuthority, {});
  const copies = output === undefined ? undefined : copy(requests, resolve(output));
  if (invocation.has('json')) printJson(io, requests);
  else {
    for (const [n, each] of requests.entries())
      io.out(`${requestLine(each)}\nrequest: ${copies?.[n] ?? each.file}\n`);
    io.out('next:  chancery-ca ceremony sign REQUEST -o ANSWER --yes, where the root is\n');
    io.out('       chancery-ca authorities import ANSWER\n');
  }
  return 0;
}

/** Throws file. */
const ensureFree = (folder: string): void =>
  ensure(!existsSync(folder), 'file', `${folder} is there already: name another folder`);

async function wouldAsk(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const { requests } = await callOperator(invocation, (client) => client.listAuthorityRequests, {});
  if (invocation.has('json')) printJson(io, requests);
  else {
    for (const each of requests) io.out(`${requestLine(each)}\n`);
    if (requests.length === 0) io.out('nothing is open: would ask the offline root for an intermediate\n');
    io.out('nothing was changed (dry run)\n');
  }
  return 0;
}

/** To a new folder. Throws file. */
function copy(requests: readonly AuthorityRequest[], folder: string): readonly string[] {
  ensureFree(folder);
  makeFolder(folder, 0o755);
  return requests.map(({ file, pem }) => {
    const path = join(folder, basename(file));
    writeFileAtomic(path, utf8(pem), 0o644);
    return path;
  });
}

const WHAT: Readonly<Record<string, string>> = {
  intermediate: 'an intermediate',
  voucher: 'its word for the new root',
  crl: 'its revocation list',
};

/** One line of status. */
export function requestLine({ kind, holds, root, since, until }: AuthorityRequest): string {
  const asked = `root ${root}, which is offline, is asked for ${WHAT[kind] ?? kind} since ${instant(since)}`;
  if (holds === 'rotation') return `${asked}: the rotation waits for it`;
  if (holds === 'list')
    return `${asked}: ${until === 0n ? 'there is none that is valid' : `the one in force ends at ${instant(until)}`}`;
  const end =
    until === 0n ? 'nothing is issued without it' : `without it nothing is issued from ${instant(until)} on`;
  return `${asked}: ${end}`;
}

/** Prints the request of a root to a CA above, or writes it to a new folder. */
export async function requestAbove(
  root: string | undefined,
  invocation: Invocation,
  io: Io,
): Promise<ExitStatus> {
  const output = invocation.text('output');
  if (output !== undefined) ensureFree(resolve(output));
  const [dryRun, json] = [invocation.has('dry-run'), invocation.has('json')];
  const asked = await callOperator(invocation, (client) => client.askAbove, { root: root ?? '', dryRun });
  const file = output === undefined || dryRun ? undefined : write(asked, resolve(output));
  if (json) printJson(io, { ...asked, file: file ?? null });
  else if (dryRun)
    io.out(`would ask for a certificate of root ${asked.root}\nnothing was changed (dry run)\n`);
  else if (file === undefined) io.out(asked.pem);
  else {
    io.out(`request of root ${asked.root}: ${file}\n`);
    io.out('next:  the CA above signs it, and keeps its subject and its extensions\n');
    io.out('       chancery-ca authorities import CHAIN --root ROOT --dry-run\n');
  }
  return 0;
}

/** To a new folder. Throws file. */
function write({ root, pem }: RequestAbove, folder: string): string {
  makeFolder(folder, 0o755);
  const path = join(folder, `above-${root}.pem`);
  writeFileAtomic(path, utf8(pem), 0o644);
  return path;
}

/** Takes what an offline root or a CA above has signed. */
export async function importAuthority(file: string, invocation: Invocation, io: Io): Promise<ExitStatus> {
  const answer = readCarried(file);
  const says = `${file} is no answer: a file with a PEM block is expected, as ceremony sign or a CA above writes it`;
  ensure(answer.includes('-----BEGIN '), 'authority_answer', says);
  const root = invocation.text('root');
  const rootAbove = root === undefined ? Buffer.alloc(0) : readCarried(root);
  ensure(
    root === undefined || rootAbove.length > 0,
    'file',
    `${root} is empty: the root of the CA above is expected`,
  );
  const dryRun = invocation.has('dry-run');
  const imported = await callOperator(invocation, (client) => client.importAuthority, {
    answer,
    rootAbove,
    dryRun,
  });
  if (invocation.has('json')) printJson(io, imported);
  else {
    io.out(`${importedLine(imported, dryRun)}\n`);
    for (const [n, each] of imported.chain.entries())
      io.out(`  ${n + 1}  ${linkText(each)}, until ${instant(each.notAfter)}\n`);
    printWarnings(io, imported.warnings);
    if (dryRun) io.out('nothing was changed (dry run)\n');
  }
  return 0;
}

/** Names that a stranger may have chosen. */
export const linkText = ({
  subject,
  issuer,
}: {
  readonly subject: string;
  readonly issuer: string;
}): string => printable(`${subject}, issued by ${issuer}`);

/** The file, whole. Throws file. */
export function readCarried(file: string): Buffer {
  const reading = { maxBytes: MAX_ANSWER_BYTES, code: 'file' } as const;
  return asBuffer(inFile(file, 'file', () => readWholeFile(file, reading)));
}

function importedLine({ kind, serial, notAfter, signs }: ImportedAuthority, dryRun: boolean): string {
  const [would, until] = [dryRun ? 'would ' : '', instant(notAfter)];
  const it = (verb: string): string => (dryRun ? `${would}${verb}` : `${verb}s`);
  if (kind === 'voucher')
    return `root ${serial} ${dryRun ? 'would be' : 'is'} in the bundle: chancery-ca rotate status`;
  if (kind === 'crl')
    return `the revocation list of root ${serial} ${dryRun ? 'would be' : 'is'} in force, until ${until}`;
  if (kind === 'cross')
    return `the chain from a CA above to root ${serial} ${dryRun ? 'would be' : 'is'} handed to agents, until ${until}`;
  if (signs) return `intermediate ${serial} ${it('sign')} from now on, until ${until}`;
  return `intermediate ${serial} ${it('sign')} once its root does, until ${until}: chancery-ca rotate status`;
}

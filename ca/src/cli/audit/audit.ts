/** `audit`: looks into the audit log, proves one of its entries, and verifies all of it. */
import type { AuditEntry, QueryAuditRequest } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { FROM_FLAG, keptOf } from '@chancery/shared/audit-verify/command.ts';
import { readIn } from '@chancery/shared/audit-verify/folder.ts';
import { verifyFolder } from '@chancery/shared/audit-verify/verify.ts';
import {
  type Command,
  type ExitStatus,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
  meant,
} from '@chancery/shared/cli/program.ts';
import { asBuffer, base64, utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { openCheckpoint } from '@chancery/shared/tlog/checkpoint.ts';
import { writeProof } from '@chancery/shared/tlog/proof-text.ts';
import { NO_CHECKPOINT, readEntryProof } from '@chancery/shared/tlog/read-log.ts';
import { paths, readCaConfig } from '../../config.ts';
import { ownLogKey } from '../../open-log.ts';
import { isSpokenOf, namesIn } from '../../registry/named.ts';
import { waitedFor } from '../bar.ts';
import { configFile, OPERATOR_FLAGS, printTable } from '../flags.ts';
import { inForce } from '../operator/in-force.ts';
import { checkCertificates } from './certificates.ts';
import { exportEntries } from './export.ts';
import { askAudit, PAGE, queryOf, rowOf } from './query.ts';
import { auditStatus } from './status.ts';

const DEFAULT_LIMIT = 100;
const FOLLOW_MS = 1_000;

export const audit: Command = {
  says:
    'Looks into the audit log (query), exports it, says how long it is kept (status), compares certificates with it, ' +
    'proves it and verifies it.',
  positionals: 'query | export | status | certificates | proof ENTRY | checkpoint | verify',
  flags: {
    identity: {
      type: 'string',
      value: 'SPIFFE-ID',
      says: 'query, export: entries that name this SPIFFE ID.',
    },
    serial: { type: 'string', value: 'SERIAL', says: 'query, export: entries that name this certificate.' },
    code: { type: 'string', value: 'CODE', says: 'query, export: refusals with this code.' },
    server: {
      type: 'string',
      value: 'NAME',
      says: 'query, export: calls of this McpServer, as gateways report them.',
    },
    tool: { type: 'string', value: 'NAME', says: 'query, export: calls of this tool.' },
    decision: { type: 'string', value: 'allowed|denied|failed', says: 'query, export: how requests ended.' },
    outcome: {
      type: 'string',
      value: 'result|error|abandoned|unknown',
      says: 'query, export: how calls ended.',
    },
    text: {
      type: 'string',
      value: 'TEXT',
      says: 'query, export: any part of an entry, at most 256 characters in any case.',
    },
    foreign: {
      type: 'boolean',
      says: 'query, export: also calls that a gateway reported for servers that are not its own.',
    },
    since: {
      type: 'string',
      value: 'TIME',
      says: 'query, export: from this time on; RFC 3339, or how long ago (15m, 7d).',
    },
    until: { type: 'string', value: 'TIME', says: 'query, export: before this time.' },
    limit: { type: 'string', short: 'n', value: 'COUNT', says: 'query: the newest so many (default: 100).' },
    all: { type: 'boolean', says: 'query: all that match, however many.' },
    follow: { type: 'boolean', says: 'query: go on with new entries until it is interrupted.' },
    format: {
      type: 'string',
      value: 'json|ocsf',
      says: 'export: the entries (default), or events of OCSF 1.8.0, API Activity and Authentication.',
    },
    ...FROM_FLAG,
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  run(invocation, io) {
    const [verb = '', ...more] = invocation.positionals;
    ensureOwnFlags(verb, invocation);
    if (verb === 'proof' && more.length === 1) return proof(more[0] ?? '', invocation, io);
    if (verb === 'query' && more.length === 0) return query(invocation, io);
    if (verb === 'export' && more.length === 0) return exportEntries(invocation, io);
    if (verb === 'status' && more.length === 0) return auditStatus(invocation, io);
    if (verb === 'checkpoint' && more.length === 0) return checkpoint(invocation, io);
    if (verb === 'certificates' && more.length === 0) return checkCertificates(invocation, io);
    if (verb === 'verify' && more.length === 0) return verify(invocation, io);
    throw new MisuseError(
      `give query, export, status, certificates, proof ENTRY, checkpoint or verify${meant(verb, VERBS)}`,
    );
  },
};

const VERBS = ['query', 'export', 'status', 'certificates', 'proof', 'checkpoint', 'verify'];
const FILTERS = [
  'identity',
  'serial',
  'code',
  'server',
  'tool',
  'decision',
  'outcome',
  'text',
  'foreign',
  'since',
  'until',
];
const PRINTING = ['limit', 'all', 'follow'];

/** The verbs that take a flag; a flag that is not here is for all of them. */
const OF_VERBS: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(FILTERS.map((flag) => [flag, ['query', 'export']])),
  ...Object.fromEntries(PRINTING.map((flag) => [flag, ['query']])),
  format: ['export'],
  from: ['verify'],
};

/** A flag that does nothing is a slip: `--from` for `--since` would print everything. */
function ensureOwnFlags(verb: string, invocation: Invocation): void {
  const isGiven = (flag: string) => invocation.has(flag) || invocation.texts(flag).length > 0;
  const other = Object.entries(OF_VERBS).find(([flag, verbs]) => !verbs.includes(verb) && isGiven(flag));
  if (other !== undefined && VERBS.includes(verb))
    throw new MisuseError(`--${other[0]} is a flag of \`audit ${other[1].join('` and `audit ')}\``);
  if (verb === 'query' && invocation.has('all') && invocation.text('limit') !== undefined)
    throw new MisuseError('--all has no limit: leave --limit out');
}

async function query(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const request = queryOf(invocation, new Date());
  const limit = limitOf(invocation.text('limit'));
  const isAll = invocation.has('all');
  const printed = printerOf(invocation, io);
  let found = false;
  const print: Output['print'] = (entries) => {
    found ||= entries.length > 0;
    printed(entries);
  };
  let place: bigint | undefined;
  if (isAll) place = await forwards(request, undefined, { invocation, print });
  else {
    const asked = { ...request, limit: Math.min(limit, PAGE) };
    const search = () => backwards(asked, limit, invocation);
    const newest = await waitedFor(io, 'the CA searches its log', search);
    ({ place } = newest);
    print(newest.entries);
  }
  if (!found && !invocation.has('json')) io.err(`${await saysNothing(request, invocation)}\n`);
  while (invocation.has('follow') && !io.signal.aborted) {
    place = await forwards(request, place, { invocation, print });
    await pause(FOLLOW_MS, io.signal);
  }
  return 0;
}

/** Why nothing may match: the server or the SPIFFE ID is misspelt, or only others speak of it. */
async function saysNothing(request: QueryAuditRequest, invocation: Invocation): Promise<string> {
  const server = invocation.text('server');
  if (server !== undefined) {
    const { resources } = await inForce(invocation);
    const names = resources.flatMap(({ kind, name }) => (kind === 'McpServer' ? [name] : []));
    if (!names.includes(server))
      return `no entry matches, and there is no McpServer/${server} now${meant(server, names)}`;
  }
  const identity = invocation.text('identity');
  if (identity !== undefined) {
    const { resources } = await inForce(invocation);
    if (!isSpokenOf(resources, parseSpiffeId(identity)))
      return `no entry matches, and no resource speaks of ${identity} now${meant(identity, namesIn(resources))}`;
  }
  const left = request.withoutForeign
    ? ' (--foreign looks at what gateways say of servers of others, too)'
    : '';
  return `no entry matches${left}`;
}

interface Output {
  readonly invocation: Invocation;
  readonly print: (entries: readonly AuditEntry[]) => void;
}

/** Prints page by page. Resolves with the place after the last one. */
async function forwards(
  request: QueryAuditRequest,
  from: bigint | undefined,
  { invocation, print }: Output,
): Promise<bigint> {
  let [place, more] = [from, true];
  while (more) {
    const page = await askAudit(invocation, {
      ...request,
      limit: PAGE,
      ...(place !== undefined && { place }),
    });
    print(page.entries);
    ({ place, more } = page);
  }
  return place ?? 0n;
}

/** The newest `limit`, oldest first, and the place after the newest event of all. */
async function backwards(request: QueryAuditRequest, limit: number, invocation: Invocation) {
  const entries: AuditEntry[] = [];
  let [place, more]: [bigint | undefined, boolean] = [undefined, true];
  let newest = 0n;
  while (more && entries.length < limit) {
    const page = await askAudit(invocation, {
      ...request,
      backwards: true,
      ...(place !== undefined && { place }),
    });
    if (place === undefined) newest = page.newest;
    entries.push(...page.entries);
    ({ place, more } = page);
  }
  return { entries: entries.slice(0, limit).toReversed(), place: newest };
}

function limitOf(text: string | undefined): number {
  const limit = Number(text ?? DEFAULT_LIMIT);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100_000)
    throw new MisuseError('--limit is a number from 1 to 100000; --all has no limit');
  return limit;
}

/** Resolves early where the signal aborts. */
const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });

/** A table, whose head is printed once, or a JSON object a line with the entry's index. */
function printerOf(invocation: Invocation, io: Io): Output['print'] {
  let isFirst = true;
  return (entries) => {
    if (invocation.has('json')) {
      for (const each of entries) io.out(`{"entry":${each.index ?? null},${each.text.slice(1)}\n`);
      return;
    }
    if (entries.length === 0 && !isFirst) return;
    printTable(io, isFirst ? ['ENTRY', 'TIME', 'EVENT', 'ABOUT'] : ['', '', '', ''], entries.map(rowOf));
    isFirst = false;
  };
}

/** Offline: by the files and the key. */
async function proof(text: string, invocation: Invocation, io: Io): Promise<ExitStatus> {
  if (!/^(0|[1-9]\d{0,14})$/.test(text)) throw new MisuseError(`"${text}" is not the index of an entry`);
  const settings = readCaConfig(configFile(invocation));
  const { verifier } = ownLogKey(settings);
  const made = await readEntryProof(Number(text), readIn(paths(settings.dataDir).log), verifier);
  if (!invocation.has('json')) io.out(writeProof(made));
  else {
    const { size, root } = openCheckpoint(utf8(made.checkpoint), verifier);
    const entry = asBuffer(made.extra).toString('utf8');
    const [hashes, { index, checkpoint }] = [made.hashes.map(base64), made];
    io.out(`${JSON.stringify({ index, entry, size, root: base64(root), hashes, checkpoint }, null, 2)}\n`);
  }
  return 0;
}

/** Offline: the newest checkpoint as it was signed, so that a cron job or a webhook can keep it elsewhere. */
async function checkpoint(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const settings = readCaConfig(configFile(invocation));
  const { verifier } = ownLogKey(settings);
  const bytes = await readIn(paths(settings.dataDir).log)('checkpoint');
  ensure(bytes !== undefined, 'tlog', NO_CHECKPOINT);
  const { size, root } = openCheckpoint(bytes, verifier);
  const note = asBuffer(bytes).toString('utf8');
  io.out(invocation.has('json') ? `${JSON.stringify({ size, root: base64(root), note })}\n` : note);
  return 0;
}

/** Offline: by the files and the key. */
async function verify(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const settings = readCaConfig(configFile(invocation));
  const { verifier: key } = ownLogKey(settings);
  const [folder, kept] = [paths(settings.dataDir).log, keptOf(invocation.texts('from'))];
  return verifyFolder({ folder, key, kept, json: invocation.has('json') }, io);
}
